//! The records, as compiled from `log/proto/rollcall/log/v1/record.proto`.
//!
//! Rules of evolution: fields are only added, numbers never reused; a reader ignores fields it
//! does not know and stops at a body it does not know
//! ([`ReadError::UnknownBody`](crate::ReadError::UnknownBody)).

// Generated; record.proto carries the comments. The largest body is a rare one: boxing it would help nobody.
#[allow(missing_docs, clippy::large_enum_variant)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/rollcall.log.v1.rs"));
}

pub use generated::record::Body;
pub use generated::*;
