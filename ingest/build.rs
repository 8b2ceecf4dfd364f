//! Compiles the worker's half of IngestService without a system protoc.
use std::{env, error::Error};

const ROOT: &str = "../server/proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}");
    if env::var_os("CARGO_FEATURE_WORKER").is_none() {
        return Ok(());
    }
    let files = protox::compile(["rollcall/v1/ingest.proto"], [ROOT])?;
    tonic_prost_build::configure()
        // The worker's tests talk to a server of their own.
        .server_mod_attribute("rollcall.v1", "#[cfg(test)]")
        .compile_fds(files)?;
    Ok(())
}
