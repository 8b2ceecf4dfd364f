//! Compiles the client half of the public API without a system protoc, and the server half into a
//! folder of its own: only the tests include that one, for the server they make up.
use std::{env, error::Error, fs, path::PathBuf};

const ROOT: &str = "../server/proto";
const FILES: [&str; 9] = [
    "rollcall/v1/types.proto",
    "rollcall/v1/search.proto",
    "rollcall/v1/identity.proto",
    "rollcall/v1/source.proto",
    "rollcall/v1/privacy.proto",
    "rollcall/v1/sighting.proto",
    "rollcall/v1/watch.proto",
    "rollcall/v1/alert.proto",
    "rollcall/v1/admin.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let files = protox::compile(FILES, [ROOT])?;
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(files.clone())?;
    let server = PathBuf::from(env::var("OUT_DIR")?).join("server");
    fs::create_dir_all(&server)?;
    tonic_prost_build::configure()
        .build_client(false)
        .extern_path(".rollcall.v1", "::rollcall_client::pb")
        .out_dir(server)
        .compile_fds(files)?;
    Ok(())
}
