//! Shot boundaries: hard cuts and gradual transitions.
//!
//! A track never crosses one. Both finders work on the small grey copies and are started anew at
//! each cut, so that a run that begins at a cut sees exactly what a run over the whole file sees.

mod cut;
mod facerec;
mod gradual;
mod plan;
mod sketch;

pub use cut::{CutFinder, CutRules, Opening, Released};
pub use facerec::FacerecRule;
pub use gradual::{GradualFinder, GradualRules, Transition};
pub use plan::CutPlanner;
