//! Compiles the public API without a system protoc, and keeps its descriptors for reflection.
use prost::Message as _;
use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 10] = [
    "rollcall/v1/types.proto",
    "rollcall/v1/search.proto",
    "rollcall/v1/identity.proto",
    "rollcall/v1/source.proto",
    "rollcall/v1/privacy.proto",
    "rollcall/v1/sighting.proto",
    "rollcall/v1/watch.proto",
    "rollcall/v1/ingest.proto",
    "rollcall/v1/alert.proto",
    "rollcall/v1/admin.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("rollcall.v1.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_client(false)
        .compile_fds(files)?;
    Ok(())
}
