//! Generates code from the protos, without `protoc`, in three modules:
//!
//! * `proto`: all messages, and the clients;
//! * `proto::server`: the servers, in which the type of a `Workload` field is `Bytes`. A message
//!   field and a bytes field have the same encoding, so the server encodes a Workload once per
//!   revision and all watchers share the bytes. `WatchWorkloads` returns whole messages that are
//!   pre-encoded;
//! * `proto::store`: the records of the data directory.
//!
//! The server receives an Envoy's messages as `Bytes`, because most repeat the one before and
//! need no decoding.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use prost::Message as _;
use prost_types::{FileDescriptorSet, field_descriptor_proto::Type};

const PROTOS: [&str; 7] = [
    "headcount/v1/backup.proto",
    "headcount/v1/dataplane.proto",
    "headcount/v1/workload.proto",
    "headcount/v1/event.proto",
    "headcount/v1/mesh_identity.proto",
    "headcount/v1/token.proto",
    "envoy/service/health/v3/hds.proto",
];
/// Messages of the data directory. No service uses them, so reflection does not list them.
const STORE_PROTOS: [&str; 1] = ["headcount/store/v1/records.proto"];
/// Messages whose `Debug` would print a token; see `proto.rs`.
const WITH_TOKEN: [&str; 4] = [
    ".headcount.v1.Credential",
    ".headcount.v1.IssueDataplaneTokenResponse",
    ".headcount.v1.IssueUserTokenResponse",
    ".headcount.v1.RevokeTokenRequest",
];
/// A message whose `Debug` would print a private key.
const SECRET: &str = ".headcount.store.v1.SigningKey";
const PACKAGE: &str = ".headcount.v1";
/// A pre-encoded message; see `proto.rs`.
const ENCODED: &str = ".headcount.v1.Encoded";
/// Chunks are not copied when they are sent.
const BACKUP_CHUNK: &str = ".headcount.v1.CreateBackupResponse";
/// The messages that an Envoy sends on its stream.
const ENVOY_REQUEST: &str = ".envoy.service.health.v3.HealthCheckRequestOrEndpointHealthResponse";

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
        .skip_debug(WITH_TOKEN)
        .bytes(BACKUP_CHUNK)
        .out_dir(&out)
        .compile_fds(files.clone())?;

    tonic_prost_build::configure()
        .btree_map(".")
        .skip_debug([SECRET])
        .out_dir(&out)
        .compile_fds(protox::compile(STORE_PROTOS, ["proto"])?)?;

    let (envoy, headcount) = files.file.into_iter().partition(|file| file.package().starts_with("envoy."));
    compile_envoy_server(FileDescriptorSet { file: envoy }, &server_out)?;
    compile_headcount_server(FileDescriptorSet { file: headcount }, &server_out)
}

fn compile_headcount_server(files: FileDescriptorSet, out: &Path) -> Result<(), Box<dyn Error>> {
    let (mut files, shared) = use_encoded_workloads(files);
    use_encoded_watch_responses(&mut files);
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

/// Reuses the messages of `proto`; incoming ones are `Bytes`.
fn compile_envoy_server(files: FileDescriptorSet, out: &Path) -> Result<(), Box<dyn Error>> {
    tonic_prost_build::configure()
        .build_client(false)
        .extern_path(".envoy", "crate::proto::envoy")
        .extern_path(ENVOY_REQUEST, "::bytes::Bytes")
        .codec_path("crate::proto::codec::RawCodec")
        .out_dir(out)
        .compile_fds(files)?;
    Ok(())
}

/// Changes each field of type `Workload` to bytes. Returns the names of the messages and enums
/// that are unchanged, and so can be those of `proto`.
fn use_encoded_workloads(mut files: FileDescriptorSet) -> (FileDescriptorSet, Vec<String>) {
    let workload = format!("{PACKAGE}.Workload");
    let mut shared = Vec::new();
    let own = files.file.iter_mut().filter(|file| file.package() == &PACKAGE[1..]);
    for file in own {
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

/// Changes the responses of `WatchWorkloads` to pre-encoded messages.
fn use_encoded_watch_responses(files: &mut FileDescriptorSet) {
    let services = files.file.iter_mut().flat_map(|file| &mut file.service);
    for method in services.flat_map(|service| &mut service.method) {
        if method.name() == "WatchWorkloads" {
            method.output_type = Some(ENCODED.to_owned());
        }
    }
}
