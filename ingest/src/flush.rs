//! Subnormal numbers as zero, for the length of one call into a model.
//!
//! Tiny weights multiply into numbers below the normal range, which x86 handles in microcode, ten
//! times slower. ONNX Runtime sets the CPU's flags only on threads of its own; with one thread a
//! session the caller's thread does the work, so the flags are set here. Elsewhere than on x86-64
//! this does nothing and costs nothing.
#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "MXCSR has no safe accessor in the standard library"
    )
)]

use std::marker::PhantomData;

/// While it lives, this thread's SSE arithmetic takes subnormal inputs for zero (DAZ) and turns
/// subnormal results into zero (FTZ). Dropped, it restores both as they were.
///
/// Hold it around a call into a model, nothing else: Rust code may assume the default settings. It
/// cannot leave its thread.
#[derive(Debug)]
pub(crate) struct FlushGuard {
    before: u32,
    /// The register belongs to the thread, so the guard must too.
    _thread: PhantomData<*const ()>,
}

impl FlushGuard {
    /// Sets both flags on this thread.
    pub(crate) fn new() -> Self {
        let before = imp::read();
        imp::write(before | imp::FLAGS);
        Self {
            before,
            _thread: PhantomData,
        }
    }
}

impl Drop for FlushGuard {
    fn drop(&mut self) {
        // Only the two flags go back; exceptions raised meanwhile stay raised, as after any code.
        imp::write((imp::read() & !imp::FLAGS) | (self.before & imp::FLAGS));
    }
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use std::arch::asm;

    /// FTZ is bit 15, DAZ bit 6 of MXCSR (Intel SDM volume 1, 10.2.3).
    pub(super) const FLAGS: u32 = 0x8040;

    /// This thread's MXCSR.
    pub(super) fn read() -> u32 {
        let mut value = 0u32;
        // SAFETY: SSE is part of x86-64; STMXCSR stores four bytes to `value`, which is this
        // function's own, aligned and writable, and touches nothing else.
        unsafe {
            asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags));
        }
        value
    }

    /// Sets this thread's MXCSR to a value that came from [`read`], with or without [`FLAGS`].
    pub(super) fn write(value: u32) {
        // SAFETY: LDMXCSR faults on reserved bits only; `value` was read from the register, plus
        // FTZ and DAZ, which every x86-64 CPU has. No exception mask is changed, so nothing can
        // trap later. What the compiler assumes of arithmetic holds up to subnormal operands: the
        // one caller (`FlushGuard`, private to the crate) spans a call into a foreign library and
        // restores the flags before Rust arithmetic goes on.
        unsafe {
            asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, preserves_flags));
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod imp {
    pub(super) const FLAGS: u32 = 0;

    pub(super) fn read() -> u32 {
        0
    }

    pub(super) fn write(_value: u32) {}
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use std::hint::black_box;

    fn half_of_the_smallest_normal() -> f32 {
        black_box(f32::MIN_POSITIVE) * black_box(0.5)
    }

    #[test]
    fn subnormals_are_zero_inside_and_back_outside() {
        assert!(half_of_the_smallest_normal() > 0.0);
        {
            let _outer = FlushGuard::new();
            {
                let _inner = FlushGuard::new();
                assert_eq!(half_of_the_smallest_normal(), 0.0);
            }
            assert_eq!(
                half_of_the_smallest_normal(),
                0.0,
                "the outer guard still holds"
            );
        }
        assert!(half_of_the_smallest_normal() > 0.0);
        assert_eq!(imp::read() & imp::FLAGS, 0);
    }

    #[test]
    fn normal_numbers_are_untouched() {
        let plain = black_box(1.5f32) * black_box(f32::MIN_POSITIVE);
        let _guard = FlushGuard::new();
        assert_eq!(black_box(1.5f32) * black_box(f32::MIN_POSITIVE), plain);
    }
}
