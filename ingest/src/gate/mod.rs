//! What is not worth looking at, and why.

pub mod face;
pub mod frame;
