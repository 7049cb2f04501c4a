//! Backups with the real binary: what a server restored from one shows, and the exit codes of errors.

use std::fs;

use headcount::proto::{GetWorkloadRequest, Workload, workload_service_client::WorkloadServiceClient};
use tokio::process::Command;

use crate::support::{Program, Proxy, Server, Signal, Site, dataplane, headcount, hello, ready};

async fn run(arguments: &str) -> crate::support::Ended {
    Program::start(&mut headcount(arguments)).end().await
}

async fn workload(server: &Server) -> Workload {
    let mut client = WorkloadServiceClient::new(server.connect().await);
    let request = GetWorkloadRequest { name: "web".into(), ..GetWorkloadRequest::default() };
    client.get_workload(request).await.unwrap().into_inner().workload.unwrap()
}

#[tokio::test]
async fn a_restored_server_has_the_workloads_of_the_backup() {
    let site = Site::new();
    let (old, new, backup) = (site.path("old"), site.path("new"), site.path("backup"));
    let server = Server::start(&format!("--data-dir {}", old.display())).await;
    let _proxy =
        Proxy::open(server.connect().await, [hello(dataplane("default", "web", "web-1")), ready()]).await;
    server.run("wait workload web --healthy 1").await.expect_exit(0);
    let before = workload(&server).await;
    let arguments = format!("backup --force --output {}", backup.display());
    // Registrations are written behind.
    crate::support::retry("a backup with the registration", async || {
        let made = server.run(&arguments).await.expect_exit(0);
        made.err.contains(": 3 entries, ").then_some(())
    })
    .await;
    let locked = run(&format!("backup --data-dir {} --output {}.2", old.display(), backup.display())).await;
    let locked = locked.expect_exit(2);
    let process = format!("process {}", server.program.id());
    for part in ["in use by", &process, "headcount backup --server"] {
        assert!(locked.err.contains(part), "{part}: {locked}");
    }

    run(&format!("restore --data-dir {} {}", new.display(), backup.display())).await.expect_exit(0);
    run(&format!("store verify --data-dir {}", new.display())).await.expect_exit(0);
    let restored = Server::start(&format!("--data-dir {}", new.display())).await;
    restored.wait_for_counts("web", [0, 0, 1]).await;
    let after = workload(&restored).await;
    assert_eq!((after.uid, after.creation_time), (before.uid, before.creation_time));
    run(&format!("restore --data-dir {} {}", new.display(), backup.display())).await.expect_exit(64);
    restored.program.signal(Signal::TERM);
}

#[tokio::test]
async fn a_server_without_a_data_directory_is_2_and_a_damaged_backup_is_2() {
    let server = Server::start("").await;
    let output = server.site.path("backup");
    let none = server.run(&format!("backup --output {}", output.display())).await.expect_exit(2);
    assert!(none.err.contains("no data directory") && none.err.contains("--data-dir"), "{none}");
    assert!(!output.exists());

    let data = server.site.path("data");
    fs::write(&output, "{\"header\":{\"format\":\"headcount-backup\",\"version\":9}}\n").unwrap();
    let newer =
        run(&format!("restore --data-dir {} {}", data.display(), output.display())).await.expect_exit(2);
    assert!(newer.err.contains("line 1") && newer.err.contains("format 9"), "{newer}");
    assert!(!data.exists());
}

/// Standard output can be a pipe, whose reader sees the whole backup.
#[tokio::test]
async fn a_backup_can_be_piped() {
    let site = Site::new();
    let server = Server::start(&format!("--data-dir {}", site.path("data").display())).await;
    let (binary, restored) = (env!("CARGO_BIN_EXE_headcount"), site.path("restored"));
    let line = format!(
        "set -o pipefail; cd {}; {binary} backup --output - --server {} | gzip >b.gz && gunzip <b.gz >b && \
         {binary} restore --data-dir {} b",
        site.path("").display(),
        server.grpc,
        restored.display()
    );
    Program::start(Command::new("bash").args(["-c", &line])).end().await.expect_exit(0);
    assert!(restored.join("resources.redb").exists());
}
