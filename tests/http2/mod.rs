//! HTTP/2 clients written by hand, for frames that no client library sends, and for clients of about
//! 3 KB of memory, so that one test can run ten thousand of them.

mod connection;
mod frame;
mod grpc;
mod sessions;

pub(crate) use connection::{Connection, End};
pub(crate) use frame::{Frame, HUGE_WINDOW, PREFACE, flag, frame, kind, setting, settings};
pub(crate) use grpc::{SESSION, WATCH, framed, header_block, literal};
pub(crate) use sessions::{Sessions, open_connection_window};
