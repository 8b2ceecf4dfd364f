//! Compiles the record schema without a system protoc.
use std::{env, error::Error};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["rollcall/log/v1/record.proto"], ["proto"])?;
    prost_build::Config::new()
        // Sorted: the same record always has the same bytes.
        .btree_map(["."])
        .out_dir(env::var("OUT_DIR")?)
        .compile_fds(files)?;
    Ok(())
}
