use std::{
    io::{self, Read},
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{AccessRules, Location, deadline::Deadline};
use crate::observe::{Fault, FaultReason};

/// Stands for the page in the command.
const PLACE: &str = "{url}";
/// Bytes of either output that are kept.
const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// How often the program is looked after.
const POLL: Duration = Duration::from_millis(20);
/// How long the outputs may stay open once the program has ended.
const DRAIN: Duration = Duration::from_secs(1);

/// Finds the stream on a page by a program of the operator's, such as `yt-dlp -g {url}`.
///
/// It runs without a shell, in a process group of its own that is ended at the deadline. The first
/// line of what it prints is the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolver {
    page: String,
    rules: AccessRules,
}

impl Resolver {
    pub(super) fn new(page: &str, rules: &AccessRules) -> Self {
        Self {
            page: page.to_owned(),
            rules: rules.clone(),
        }
    }

    /// Where the stream of `page` is now, checked like any address from outside. Messages go on
    /// naming the page.
    ///
    /// # Errors
    /// `CONNECT_FAILED` when the program fails, finds nothing or takes too long, and
    /// `PROTOCOL_NOT_ALLOWED` when what it finds may not be opened.
    pub(super) fn resolve(&self, page: &Location, deadline: &Deadline) -> Result<Location, Fault> {
        let (program, arguments) = self
            .rules
            .resolver_command
            .split_first()
            .ok_or_else(|| fault(page, "has no resolver"))?;
        let failed = |what: &str| fault(page, &format!("the resolver '{program}' {what}"));
        let arguments = arguments.iter().map(|a| a.replace(PLACE, &self.page));
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|why| failed(&format!("cannot be started: {why}")))?;
        let output = child.stdout.take().map(|stream| keep(stream, Kept::First));
        let errors = child.stderr.take().map(|stream| keep(stream, Kept::Last));
        let status = wait(&mut child, deadline)
            .map_err(|why| failed(&format!("cannot be waited for: {why}")))?
            .ok_or_else(|| failed("did not end in time"))?;
        if !status.success() {
            let errors = text_of(errors);
            let said = errors.lines().rev().find(|line| !line.trim().is_empty());
            let said = said.map_or("it said nothing", str::trim);
            return Err(failed(&format!("ended with {status}: {said}")));
        }
        let output = text_of(output);
        let found = output.lines().next().unwrap_or_default().trim();
        if found.is_empty() {
            return Err(failed("found no stream"));
        }
        let mut location = Location::check_resolved(found, &self.rules).map_err(|refused| {
            let what = format!("'{}': {}", page.shown, refused.message);
            Fault::new(refused.reason, what)
        })?;
        location.shown.clone_from(&page.shown);
        Ok(location)
    }
}

fn fault(page: &Location, what: &str) -> Fault {
    Fault::new(
        FaultReason::ConnectFailed,
        format!("'{}': {what}", page.shown),
    )
}

/// Waits for `child`; at the deadline it is ended, with all it started, and `None` returned.
fn wait(child: &mut Child, deadline: &Deadline) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if deadline.is_over() {
            // It has not been waited for, so the number is still its own.
            let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

/// Which end of an output is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    First,
    Last,
}

/// Reads an output to its end on a thread of its own, so that nobody waits for room in a pipe.
fn keep(mut stream: impl Read + Send + 'static, kept: Kept) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let read = move || {
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = stream.read(&mut chunk) {
            bytes.extend_from_slice(&chunk[..count]);
            let excess = bytes.len().saturating_sub(OUTPUT_BYTES_MAX);
            match kept {
                Kept::First => bytes.truncate(OUTPUT_BYTES_MAX),
                Kept::Last => drop(bytes.drain(..excess)),
            }
        }
        let _ = sender.send(bytes);
    };
    // Without a thread nothing is read, and the receiver finds that out.
    let _ = std::thread::Builder::new()
        .name("resolver".to_owned())
        .spawn(read);
    receiver
}

fn text_of(output: Option<mpsc::Receiver<Vec<u8>>>) -> String {
    let bytes = output.and_then(|output| output.recv_timeout(DRAIN).ok());
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::StopToken;

    const PAGE: &str = "https://me:pw@site.example/watch?v=1&key=k";

    fn resolve(script: &str, open: Duration) -> Result<Location, Fault> {
        let command = ["/bin/sh", "-c", script, "resolver", PLACE];
        let rules = AccessRules {
            resolver_command: command.map(str::to_owned).to_vec(),
            ..AccessRules::default()
        };
        let page = Location::check(&format!("page+{PAGE}"), &rules)?;
        let deadline = Deadline::new(StopToken::default());
        deadline.arm(open);
        let resolver = page.resolver.as_ref().expect("a page has a resolver");
        resolver.resolve(&page, &deadline)
    }

    const PATIENT: Duration = Duration::from_secs(60);

    #[test]
    fn the_first_line_is_the_address_and_the_page_is_what_is_shown() {
        let script = r#"test "$1" = 'https://me:pw@site.example/watch?v=1&key=k' || exit 3
            echo noise >&2; echo ' https://cdn.example/live.m3u8?sig=s '; echo https://sound.example/"#;
        let found = resolve(script, PATIENT).unwrap();
        assert_eq!(found.target, "https://cdn.example/live.m3u8?sig=s");
        assert!(!found.shown.contains("pw") && found.shown.contains("site.example/watch"));
        assert!(found.resolver.is_none());
    }

    #[test]
    fn what_is_found_is_held_to_the_rules() {
        for found in [
            "file:///etc/passwd",
            "FILE:///etc/passwd",
            "/etc/passwd",
            "v4l2:/dev/video0",
            "pipe:0",
            "concat:http://a|file:/etc/passwd",
            "page+https://site.example/again",
            "gopher://h/x",
        ] {
            let refused = resolve(&format!("echo '{found}'"), PATIENT).unwrap_err();
            assert_eq!(refused.reason, FaultReason::ProtocolNotAllowed, "{found}");
            assert!(refused.message.contains("site.example"), "{refused}");
        }
    }

    #[test]
    fn failures_say_why_without_credentials() {
        let check = |script: &str, open: Duration, expected: &str| {
            let fault = resolve(script, open).unwrap_err();
            assert_eq!(fault.reason, FaultReason::ConnectFailed);
            assert!(fault.message.contains(expected), "{fault}");
            assert!(!fault.message.contains("pw"), "{fault}");
        };
        let script = "echo first >&2; echo 'ERROR: http://me:pw@h/ is gone' >&2; echo >&2; exit 5";
        check(
            script,
            PATIENT,
            "exit status: 5: ERROR: http://***@h/ is gone",
        );
        check("exit 1", PATIENT, "it said nothing");
        check("true", PATIENT, "found no stream");
        check("echo; echo http://h/", PATIENT, "found no stream");
        // Ended with what it started, or the pipes would stay open.
        check(
            "sleep 1000 & sleep 1000",
            Duration::from_millis(100),
            "did not end in time",
        );
        let endless =
            "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done";
        check(endless, Duration::from_millis(300), "did not end in time");
    }

    #[test]
    fn a_page_needs_a_resolver_and_an_allowed_protocol() {
        let refused = |uri: &str, protocols: &[&str], command: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
            let rules = AccessRules {
                file_roots: None,
                protocols: owned(protocols),
                resolver_command: owned(command),
            };
            Location::check(uri, &rules).unwrap_err().message
        };
        let none = refused("page+https://h/", &["https"], &[]);
        assert!(none.contains("ingest.resolver_command"), "{none}");
        let plain = refused("page+http://h/", &["https"], &["x"]);
        assert!(plain.contains("'http' is not allowed"), "{plain}");
        for odd in [
            "page+rtsp://h/",
            "page+file:///etc/passwd",
            "page+/etc/passwd",
            "page+",
        ] {
            assert!(
                refused(odd, &["https", "rtsp"], &["x"]).contains("page+https"),
                "{odd}"
            );
        }
    }
}
