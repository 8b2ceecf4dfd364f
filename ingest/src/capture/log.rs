//! FFmpeg's own messages go to `tracing`, and the latest of this thread are kept: FFmpeg says why
//! something failed in its log, not in its error codes.
#![expect(unsafe_code, reason = "FFmpeg's log is taken over by a C callback")]

use std::{cell::RefCell, collections::VecDeque, sync::Once};

use crate::observe::mask_credentials;

/// Messages kept a thread.
const KEPT: usize = 16;

thread_local! {
    static RECENT: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
}

/// Routes FFmpeg's log to `tracing` (errors as warnings, the rest as debug), for the whole process.
/// Where the platform's argument lists are unknown to us, FFmpeg is made silent instead.
pub fn route_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A failure to start the network layer shows when something is opened.
        let _ = ffmpeg_next::init();
        install();
    });
}

/// Forgets this thread's messages.
pub(super) fn clear() {
    RECENT.with_borrow_mut(VecDeque::clear);
}

/// The newest message of this thread that contains `text`.
pub(super) fn recent(text: &str) -> Option<String> {
    RECENT.with_borrow(|lines| lines.iter().rev().find(|line| line.contains(text)).cloned())
}

fn note(level: i32, line: &str) {
    let line = mask_credentials(line.trim());
    if line.is_empty() {
        return;
    }
    if level <= ffmpeg_next::ffi::AV_LOG_ERROR {
        tracing::warn!(target: "rollcall_ingest::ffmpeg", "{line}");
    } else {
        tracing::debug!(target: "rollcall_ingest::ffmpeg", "{line}");
    }
    RECENT.with_borrow_mut(|lines| {
        while lines.len() >= KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    });
}

#[cfg(not(target_arch = "x86_64"))]
fn install() {
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Quiet);
}

#[cfg(target_arch = "x86_64")]
fn install() {
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Warning);
    // SAFETY: `callback` has the signature FFmpeg asks for, is sound on any thread, and lives as
    // long as the process.
    unsafe { ffmpeg_next::ffi::av_log_set_callback(Some(callback)) };
}

/// # Safety
/// FFmpeg calls it with a live context or null, a format and its arguments.
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn callback(
    context: *mut std::ffi::c_void,
    level: std::ffi::c_int,
    format: *const std::ffi::c_char,
    arguments: *mut ffmpeg_next::ffi::__va_list_tag,
) {
    const LENGTH: std::ffi::c_int = 1024;
    if level > ffmpeg_next::ffi::AV_LOG_WARNING {
        return;
    }
    let mut line = [0u8; 1024];
    let mut prefix: std::ffi::c_int = 0;
    // SAFETY: the first arguments are FFmpeg's own, handed on unchanged and once; the line has the
    // length stated, and FFmpeg ends it with a zero.
    unsafe {
        ffmpeg_next::ffi::av_log_format_line2(
            context,
            level,
            format,
            arguments,
            line.as_mut_ptr().cast(),
            LENGTH,
            &raw mut prefix,
        )
    };
    let end = line
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(line.len());
    let text = String::from_utf8_lossy(&line[..end]).into_owned();
    // A panic must not cross into C; the message is lost then, nothing else.
    let _ = std::panic::catch_unwind(|| note(level, &text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_messages_of_the_thread_are_kept_and_masked() {
        clear();
        for i in 0..40 {
            note(16, &format!("line {i} http://me:secret@host/"));
        }
        assert!(recent("line 39").unwrap().contains("***@host"));
        assert!(recent("line 3 ").is_none());
        assert!(recent("secret").is_none());
        clear();
        assert!(recent("line").is_none());
    }
}
