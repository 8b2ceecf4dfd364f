//! Who is let in, and what for: keys, roles, and the sources that a key is for.
//!
//! [`Gate`] stands before every call: it asks for a key once there is one, and compares what the key may with what
//! the method needs ([`needs`]) before a byte of the request is read. [`KeyFile`] is where keys are kept; only
//! digests of them are. `docs/security.md` is the operator's side of it.

mod caller;
mod file;
mod gate;
mod jwt;
mod key;
mod role;

pub use file::{KeyFile, KeyFileError, NewKey, StoredKey};
pub use gate::{Gate, GateError};
pub use jwt::JwtError;
pub use key::Lifetime;
pub use role::Role;

pub(crate) use caller::{Caller, Notes};
pub(crate) use gate::{has_key, keep};
pub(crate) use jwt::check as check_tokens;
pub(crate) use role::{Needs, needs};
