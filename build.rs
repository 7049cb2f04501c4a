//! Compiles the protos, without a `protoc` on the machine, into two sides:
//!
//! * `proto`: every message, and the clients;
//! * `proto::server`: the services, in which a `Workload` is `Bytes` that are
//!   encoded already. On the wire a message and bytes look alike, so the server
//!   encodes a Workload once per revision and every watcher shares the result.
//!   In the same way a watch answers with whole messages that are encoded.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;
use prost_types::{FileDescriptorSet, field_descriptor_proto::Type};

const PROTOS: [&str; 3] =
    ["headcount/v1/dataplane.proto", "headcount/v1/workload.proto", "headcount/v1/event.proto"];
const PACKAGE: &str = ".headcount.v1";
/// A message that is encoded already; see `proto.rs`.
const ENCODED: &str = ".headcount.v1.Encoded";

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

    let (mut server_files, shared) = encoded_workloads(files);
    encoded_steps(&mut server_files);
    let server = tonic_prost_build::configure()
        .build_client(false)
        .bytes(".")
        .extern_path(ENCODED, "crate::proto::Encoded")
        .codec_path("crate::grpc::codec::LeanCodec")
        .out_dir(&server_out);
    shared
        .iter()
        .fold(server, |build, name| {
            build.extern_path(format!("{PACKAGE}.{name}"), format!("crate::proto::{name}"))
        })
        .compile_fds(server_files)?;
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
