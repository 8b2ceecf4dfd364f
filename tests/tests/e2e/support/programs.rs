//! Where the programs and the assets are.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program of the build that this test belongs to.
///
/// # Panics
/// If it has not been built.
pub(crate) fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    // target/PROFILE/deps/e2e-HASH: the programs lie one folder up.
    let folder = this.parent().and_then(Path::parent).unwrap();
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "{} is missing: the end-to-end tests start the programs, so build them first with \
         `cargo build --workspace --bins` (`make test` does), in the same profile",
        path.display()
    );
    path
}

/// A command without settings from the environment that would change what it does.
pub(crate) fn bare(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROLLCALL_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// The assets folder that set-up fills.
///
/// # Panics
/// If it is not there.
pub(crate) fn assets() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.assets");
    let folder = std::env::var_os("ROLLCALL_ASSETS").map_or_else(default, PathBuf::from);
    folder.canonicalize().unwrap_or_else(|error| {
        panic!("{}: {error}: run `make setup` first", folder.display());
    })
}

/// A file of the assets.
pub(crate) fn asset(name: &str) -> PathBuf {
    let path = assets().join(name);
    assert!(
        path.is_file(),
        "{} is missing: run `make setup`",
        path.display()
    );
    path
}
