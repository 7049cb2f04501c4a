//! Data directories that a server can't use: it names the problem and the remedy, and changes nothing.

use std::{
    fs,
    iter::repeat_with,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use fastrand::Rng;

use crate::support::{Ended, Program, Proxy, Server, Signal, Site, dataplane, get, headcount, hello, ready};

const REGISTRATIONS: &str = "registrations.redb";

/// Runs `serve` with a data directory that it can't use.
async fn serve_in(site: &Site, directory: &Path) -> Ended {
    serve_with(site, directory, "").await
}

async fn serve_with(site: &Site, directory: &Path, flags: &str) -> Ended {
    let any = site.any_port();
    let serve = format!(
        "serve --grpc-addr {any} --http-addr {any} --kube-api-addr off --data-dir {} {flags}",
        directory.display()
    );
    Program::start(&mut headcount(&serve)).end().await
}

/// The entries of both files: those of a backup, without its header and trailer.
async fn entries(site: &Site, directory: &Path, backup: &str) -> Vec<String> {
    let file = site.path(backup);
    let backup = format!("backup --data-dir {} --output {}", directory.display(), file.display());
    Program::start(&mut headcount(&backup)).end().await.expect_exit(0);
    let text = fs::read_to_string(file).unwrap();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines[1..lines.len() - 1].to_vec()
}

/// Starts and stops a server that has stored one registration; returns its data directory.
async fn stored_registration() -> (Server, PathBuf) {
    let mut server = Server::start_durable("").await;
    let hello = hello(dataplane("default", "web", "web-1"));
    let proxy = Proxy::open(server.connect().await, [hello, ready()]).await;
    server.wait_for_counts("web", [1, 1, 1]).await;
    server.wait_until_stored().await;
    server.stop(Signal::KILL).await;
    drop(proxy);
    let directory = server.site.path("data");
    (server, directory)
}

#[tokio::test]
async fn the_files_belong_to_the_server_alone() {
    let (_server, directory) = stored_registration().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for file in fs::read_dir(&directory).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    assert!(directory.join(REGISTRATIONS).is_file());
}

#[tokio::test]
async fn a_file_as_directory_is_64_and_is_left_alone() {
    let site = Site::new();
    let file = site.file("data", "precious\n");
    let ended = serve_in(&site, &file).await.expect_exit(64);
    ended.expect_stderr(&["--data-dir", &file.display().to_string(), "directory"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious\n");
}

#[tokio::test]
async fn a_directory_in_use_is_2_and_the_message_names_the_process() {
    let server = Server::start_durable("").await;
    let directory = server.site.path("data");
    let ended = serve_in(&server.site, &directory).await.expect_exit(2);
    ended.expect_stderr(&[&directory.display().to_string(), &server.program.id().to_string()]);
    // The first server is not disturbed.
    let hello = hello(dataplane("default", "web", "web-1"));
    let _proxy = Proxy::open(server.connect().await, [hello, ready()]).await;
    server.wait_for_counts("web", [1, 1, 1]).await;
    server.wait_until_stored().await;
}

#[tokio::test]
async fn registrations_beyond_a_limit_are_2_and_are_kept() {
    let mut server = Server::start_durable("").await;
    let directory = server.site.path("data");
    let mut proxies = Vec::new();
    for name in ["web-1", "web-2", "web-3"] {
        proxies.push(
            Proxy::open(server.connect().await, [hello(dataplane("default", "web", name)), ready()]).await,
        );
    }
    server.wait_for_counts("web", [3, 3, 3]).await;
    server.wait_until_stored().await;
    server.stop(Signal::TERM).await;
    let before = entries(&server.site, &directory, "before.backup").await;
    let ended = serve_with(&server.site, &directory, "--max-dataplanes 2").await.expect_exit(2);
    let path = directory.display().to_string();
    ended.expect_stderr(&[&path, "3 dataplanes", "--max-dataplanes is 2", "raise", "another --data-dir"]);
    assert_eq!(entries(&server.site, &directory, "after.backup").await, before);
    server.start_again().await;
    server.wait_for_counts("web", [0, 0, 3]).await;
}

#[tokio::test]
async fn damaged_registrations_are_2_and_are_left_alone() {
    let (mut server, directory) = stored_registration().await;
    let file = directory.join(REGISTRATIONS);
    let intact = fs::read(&file).unwrap();
    let middle = intact.len() / 2;
    let mut random = Rng::with_seed(14);
    let random: Vec<u8> = repeat_with(|| random.u8(..)).take(intact.len()).collect();
    let damages: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("truncated", intact[..middle].to_vec()),
        ("no header", [&[0; 512], &intact[512..]].concat()),
        ("text", b"registrations: none\n".repeat(1_000)),
        ("random bytes", random),
    ];
    for (damage, bytes) in damages {
        fs::write(&file, &bytes).unwrap();
        let ended = serve_in(&server.site, &directory).await.expect_exit(2);
        ended.expect_stderr(&[&file.display().to_string()]);
        assert!(fs::read(&file).unwrap() == bytes, "{damage}: the file has changed: {ended}");
        println!("{damage}: {}", ended.err.lines().last().unwrap_or_default());
    }
    // The directory is usable again with the intact file.
    fs::write(&file, &intact).unwrap();
    server.start_again().await;
    server.wait_for_counts("web", [0, 0, 1]).await;
}

/// Checks what operators see of a server that can't store, or of one that can.
async fn shows(server: &Server, failing: bool) {
    server.wait_for_metric("headcount_store_failing", |value| value == u64::from(failing)).await;
    let (code, text) = get(server.http, "/readyz?verbose").await.unwrap();
    let line = if failing { "it was removed or replaced" } else { "\n[+]store ok\n" };
    assert!(code == 200 && text.contains(line), "{code} {text}");
}

/// The server has no client, so nothing is to be stored.
#[tokio::test]
async fn an_idle_server_whose_directory_is_moved_away_fails_until_it_is_back() {
    let server = Server::start_durable("").await;
    let (directory, away) = (server.site.path("data"), server.site.path("away"));
    shows(&server, false).await;
    fs::rename(&directory, &away).unwrap();
    shows(&server, true).await;
    server.program.wait_for_stderr("registrations can't be stored").await;
    server.program.wait_for_stderr("it was removed or replaced while the server runs").await;
    fs::rename(&away, &directory).unwrap();
    shows(&server, false).await;
    server.program.wait_for_stderr("registrations can be stored again").await;
}

#[tokio::test]
async fn a_server_whose_file_was_replaced_by_a_copy_stores_nothing_in_it_and_all_when_it_is_back() {
    let mut server = Server::start_durable("").await;
    let directory = server.site.path("data");
    let (file, original) = (directory.join(REGISTRATIONS), directory.join("original"));
    fs::rename(&file, &original).unwrap();
    fs::copy(&original, &file).unwrap();
    let copy = fs::read(&file).unwrap();
    shows(&server, true).await;
    let hello = hello(dataplane("default", "web", "web-1"));
    let _proxy = Proxy::open(server.connect().await, [hello, ready()]).await;
    // The server goes on.
    server.wait_for_counts("web", [1, 1, 1]).await;
    shows(&server, true).await;
    assert!(server.metric("headcount_store_pending_records").await.unwrap() > 0);
    assert!(fs::read(&file).unwrap() == copy, "the copy was changed");
    fs::rename(&original, &file).unwrap();
    shows(&server, false).await;
    server.wait_until_stored().await;
    server.restart(Signal::KILL).await;
    server.wait_for_counts("web", [0, 0, 1]).await;
}

#[tokio::test]
async fn a_server_whose_directory_was_removed_goes_on_and_a_backup_saves_what_it_had() {
    let server = Server::start_durable("").await;
    let hello = hello(dataplane("default", "web", "web-1"));
    let _proxy = Proxy::open(server.connect().await, [hello, ready()]).await;
    server.wait_for_counts("web", [1, 1, 1]).await;
    server.wait_until_stored().await;
    let directory = server.site.path("data");
    fs::remove_dir_all(&directory).unwrap();
    shows(&server, true).await;
    let backup = server.site.path("backup");
    server.run(&format!("backup --output {}", backup.display())).await.expect_exit(0);
    let restored = server.site.path("restored");
    let restore = format!("restore --data-dir {} {}", restored.display(), backup.display());
    let ended = Program::start(&mut headcount(&restore)).end().await.expect_exit(0);
    assert!(ended.out.contains("3 entries"), "{ended}");
    // Another server can start at the path; the first one does not take its files for its own.
    let second = serve_and_stop(&server.site, &directory).await;
    assert!(second.err.contains("serving"), "{second}");
    shows(&server, true).await;
}

async fn serve_and_stop(site: &Site, directory: &Path) -> Ended {
    let any = site.any_port();
    let serve = format!(
        "serve --grpc-addr {any} --http-addr {any} --kube-api-addr off --data-dir {}",
        directory.display()
    );
    let program = Program::start(&mut headcount(&serve));
    program.wait_for_stderr("serving").await;
    program.signal(Signal::TERM);
    program.end().await
}
