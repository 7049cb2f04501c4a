//! Compiles the protos, without a `protoc` on the machine, into two sides:
//!
//! * `proto`: every message, and the clients;
//! * `proto::server`: the services, in which a `Workload` is `Bytes` that are
//!   encoded already. On the wire a message and bytes look alike, so the server
//!   encodes a Workload once per revision and every watcher shares the result.
//!   In the same way a watch answers with whole messages that are encoded.
//!
//! What an Envoy says stays `Bytes` on the server's side, because most of it
//! says the same as before and so is never decoded.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use prost::Message as _;
use prost_types::{FileDescriptorSet, field_descriptor_proto::Type};

const PROTOS: [&str; 4] = [
    "headcount/v1/dataplane.proto",
    "headcount/v1/workload.proto",
    "headcount/v1/event.proto",
    "envoy/service/health/v3/hds.proto",
];
const PACKAGE: &str = ".headcount.v1";
/// A message that is encoded already; see `proto.rs`.
const ENCODED: &str = ".headcount.v1.Encoded";
/// Whatever an Envoy says on its stream.
const ENVOY_SAYS: &str = ".envoy.service.health.v3.HealthCheckRequestOrEndpointHealthResponse";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let server_out = out.join("server");
    fs::create_dir_all(&server_out)?;

    let files = protox::compile(PROTOS, ["proto"])?;
    fs::write(out.join("headcount.bin"), files.encode_to_vec())?;

    tonic_prost_build::configure()
        .build_server(false)
        .btree_map(".")
        .out_dir(&out)
        .compile_fds(files.clone())?;

    let (envoys, ours) = files.file.into_iter().partition(|file| file.package().starts_with("envoy."));
    compile_envoys_server(FileDescriptorSet { file: envoys }, &server_out)?;
    compile_our_server(FileDescriptorSet { file: ours }, &server_out)
}

fn compile_our_server(files: FileDescriptorSet, out: &Path) -> Result<(), Box<dyn Error>> {
    let (mut files, shared) = encoded_workloads(files);
    encoded_steps(&mut files);
    let server = tonic_prost_build::configure()
        .build_client(false)
        .bytes(".")
        .extern_path(ENCODED, "crate::proto::Encoded")
        .codec_path("crate::proto::codec::LeanCodec")
        .out_dir(out);
    shared
        .iter()
        .fold(server, |build, name| {
            build.extern_path(format!("{PACKAGE}.{name}"), format!("crate::proto::{name}"))
        })
        .compile_fds(files)?;
    Ok(())
}

/// All messages are those of the clients' side, and what comes in is bytes.
fn compile_envoys_server(files: FileDescriptorSet, out: &Path) -> Result<(), Box<dyn Error>> {
    tonic_prost_build::configure()
        .build_client(false)
        .extern_path(".envoy", "crate::proto::envoy")
        .extern_path(ENVOY_SAYS, "::bytes::Bytes")
        .codec_path("crate::proto::codec::RawCodec")
        .out_dir(out)
        .compile_fds(files)?;
    Ok(())
}

/// Turns each field of type `Workload` into bytes, and names the messages and
/// enums that are left as they were and so can be shared with the client side.
fn encoded_workloads(mut files: FileDescriptorSet) -> (FileDescriptorSet, Vec<String>) {
    let workload = format!("{PACKAGE}.Workload");
    let mut shared = Vec::new();
    let ours = files.file.iter_mut().filter(|file| file.package() == &PACKAGE[1..]);
    for file in ours {
        for message in &mut file.message_type {
            let mut changed = false;
            for field in &mut message.field {
                if field.type_name() == workload {
                    field.set_type(Type::Bytes);
                    field.type_name = None;
                    changed = true;
                }
            }
            if !changed {
                shared.push(message.name().to_owned());
            }
        }
        shared.extend(file.enum_type.iter().map(|e| e.name().to_owned()));
    }
    (files, shared)
}

/// Lets the watch answer with messages that are encoded already.
fn encoded_steps(files: &mut FileDescriptorSet) {
    let services = files.file.iter_mut().flat_map(|file| &mut file.service);
    for method in services.flat_map(|service| &mut service.method) {
        if method.name() == "WatchWorkloads" {
            method.output_type = Some(ENCODED.to_owned());
        }
    }
}
