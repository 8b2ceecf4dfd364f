//! Gates: which frames are searched, and which faces are good enough to be embedded.

mod canny;
pub mod face;
pub mod frame;
mod landmarks;
pub mod plane;
pub mod streamface;
