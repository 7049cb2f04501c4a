//! HTTP/2 by hand: what no client library would send, and clients so lean that
//! ten thousand fit into a test.

mod frame;
mod grpc;
mod line;
mod sessions;

pub(crate) use frame::{Frame, HUGE_WINDOW, PREFACE, flag, frame, kind, setting, settings};
pub(crate) use grpc::{SESSION, WATCH, framed, header_block, literal};
pub(crate) use line::{End, Line};
pub(crate) use sessions::{Sessions, open_wide};
