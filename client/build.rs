//! Compiles the client half of the public API without a system protoc.
use std::error::Error;

const ROOT: &str = "../server/proto";
const FILES: [&str; 7] = [
    "rollcall/v1/types.proto",
    "rollcall/v1/search.proto",
    "rollcall/v1/identity.proto",
    "rollcall/v1/source.proto",
    "rollcall/v1/sighting.proto",
    "rollcall/v1/watch.proto",
    "rollcall/v1/admin.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    let files = protox::compile(FILES, [ROOT])?;
    tonic_prost_build::configure().build_server(false).compile_fds(files)?;
    Ok(())
}
