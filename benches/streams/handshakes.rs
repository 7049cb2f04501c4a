//! Handshakes per second: full handshakes of TLS 1.3 with a P-256 certificate, by the processor time that they
//! cost the server, which includes accepting and closing the connection.

use std::io;

use anyhow::ensure;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    runtime::Runtime,
};

use crate::{
    bare_tonic::Mode,
    remote::{Connector, Remote},
    role::Role,
    security::Files,
    server::{Server, Setup, Side},
    support::{
        child::Process,
        process::processor_time,
        rounds::{Figure, Measure, compare},
        target::Target,
    },
};

pub(crate) const SIDES: [&str; 2] = ["headcount", "bare tokio-rustls"];

/// Connections at the same time.
const CONCURRENT: usize = 32;

struct Scale {
    rounds: usize,
    warm_up: usize,
    handshakes: usize,
}

const FULL: Scale = Scale { rounds: 5, warm_up: 500, handshakes: 5_000 };

const QUICK: Scale = Scale { rounds: 1, warm_up: 10, handshakes: 50 };

#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
pub(crate) fn measure(quick: bool, files: &Files) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    let security = files.tls();
    compare("tls-handshakes", scale.rounds, [true, false], |headcount| {
        let (process, addr) = if headcount {
            let setup = Setup::new(Side::Headcount, Mode::Ack).with_security(Some(security));
            let server = Server::start(setup)?;
            let addr = server.addr();
            (server.into_process(), addr)
        } else {
            Process::start(&Role::AcceptTls(security))?
        };
        let (runtime, remote) = (Runtime::new()?, Remote { addr, security: Some(security) });
        runtime.block_on(shake_hands(remote, scale.warm_up))?;
        let before = processor_time(process.pid())?;
        runtime.block_on(shake_hands(remote, scale.handshakes))?;
        let spent = processor_time(process.pid())?.saturating_sub(before).as_secs_f64();
        Ok(vec![
            Measure::new("handshakes per second of processor time", "/s", scale.handshakes as f64 / spent)
                .target(Target::RatioAtLeast(0.9)),
        ])
    })
}

/// Connects this many times; each connection is closed after the handshake.
async fn shake_hands(remote: Remote, times: usize) -> anyhow::Result<()> {
    let connector = remote.connector()?;
    stream::iter(0..times)
        .map(|_| shake_hand(connector.clone()))
        .buffer_unordered(CONCURRENT)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

async fn shake_hand(connector: Connector) -> anyhow::Result<()> {
    let mut stream = connector.connect().await?;
    let (version, kind) = (stream.get_ref().1.protocol_version(), stream.get_ref().1.handshake_kind());
    ensure!(version == Some(ProtocolVersion::TLSv1_3), "TLS 1.3, not {version:?}");
    ensure!(kind == Some(HandshakeKind::Full), "a full handshake, not {kind:?}");
    // The server has finished its part too when it closes the connection.
    stream.shutdown().await?;
    match stream.read(&mut [0; 1]).await {
        Ok(0) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        other => anyhow::bail!("the server did not close the connection: {other:?}"),
    }
}
