//! Turns `schema/*.proto` into Rust without needing an installed protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=schema");
    let files = protox::compile(["schema/link.proto"], ["schema"])?;
    let mut config = tonic_prost_build::Config::new();
    config.bytes(["."]);
    // It holds a secret: see `join_token`.
    config.skip_debug([".ranch.v1.JoinRequest"]);
    tonic_prost_build::configure().compile_fds_with_config(files, config)?;
    Ok(())
}
