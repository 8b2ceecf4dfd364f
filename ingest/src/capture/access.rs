use std::{
    io::ErrorKind,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

use url::Url;

use super::resolver::Resolver;
use crate::observe::{Fault, FaultReason};

/// Containers that a file may be. No playlists, no scripts, nothing that points at other files:
/// what lies in an allowed folder must not open what lies outside.
const FILE_FORMATS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,\
live_flv,asf,ogg,mxf,nut,ivf,h264,hevc,m4v,obu,av1,dv,gif,apng,wav,mp3,aac,flac,rm,yuv4mpegpipe,\
vob,wtv,swf,amr,w64,aiff,ac3,eac3,dts,caf,au";
/// What a stream may be besides: playlists, which the protocol list keeps in bounds.
const STREAM_FORMATS: &str = "hls,rtsp,sdp,rtp,mpjpeg,jpeg_pipe,mjpeg";
/// What a camera of this machine is read as.
const DEVICE_FORMATS: &str = "video4linux2,v4l2";
/// Allowed by this name among the protocols, cameras of this machine may be read.
const DEVICE: &str = "v4l2";
/// Before the address of a page: the stream is what a resolver finds on it.
const PAGE: &str = "page+";
const ANY_TRANSPORT: &str = "tcp+udp";

/// What may be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRules {
    /// Folders under which files must lie; `None`: anywhere.
    pub file_roots: Option<Vec<PathBuf>>,
    /// URL schemes that may be opened, such as `https` or `rtsp`; `v4l2` allows cameras.
    pub protocols: Vec<String>,
    /// The program, with its arguments, that finds the stream on a page (`page+https://..`); `{url}`
    /// stands for the page. Empty: pages are refused.
    pub resolver_command: Vec<String>,
}

impl Default for AccessRules {
    fn default() -> Self {
        let protocols = [
            "http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "srt", "udp", "tcp",
        ];
        Self {
            file_roots: None,
            protocols: protocols.map(str::to_owned).to_vec(),
            resolver_command: Vec::new(),
        }
    }
}

/// A place that was checked, and the limits within which FFmpeg may open it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// What FFmpeg is given.
    pub(super) target: String,
    /// For messages: credentials masked.
    pub(super) shown: String,
    pub(super) protocols: String,
    pub(super) formats: String,
    pub(super) is_file: bool,
    pub(super) scheme: String,
    /// How an RTSP stream may come, in FFmpeg's words.
    pub(super) rtsp_transport: &'static str,
    /// For a page: who finds the stream on it, each time it is opened.
    pub(super) resolver: Option<Box<Resolver>>,
}

impl Location {
    /// Checks a path, a URL, a camera (`v4l2:/dev/video0` or its path) or a page
    /// (`page+https://..`) against the rules.
    ///
    /// # Errors
    /// A [`Fault`]: `PROTOCOL_NOT_ALLOWED`, `FILE_NOT_FOUND`, `FILE_OUTSIDE_ROOTS` or `NOT_A_VIDEO`
    /// (a folder, no camera, an empty file).
    pub fn check(uri: &str, rules: &AccessRules) -> Result<Self, Fault> {
        if uri.contains('\0') || uri.trim().is_empty() {
            return Err(Fault::new(
                FaultReason::FileNotFound,
                "the source's URI is empty or has a zero byte",
            ));
        }
        if let Some(page) = uri.strip_prefix(PAGE) {
            return Self::check_page(page, rules);
        }
        match scheme_of(uri) {
            None => Self::check_file(Path::new(uri), rules),
            Some("file") => {
                let path = Url::parse(uri).ok().and_then(|url| url.to_file_path().ok());
                let path = path.ok_or_else(|| {
                    Fault::new(
                        FaultReason::FileNotFound,
                        format!("'{uri}' names no file on this machine"),
                    )
                })?;
                Self::check_file(&path, rules)
            }
            Some(DEVICE) => Self::check_device(Path::new(&uri[DEVICE.len() + 1..]), rules),
            Some(scheme) => Self::check_url(uri, scheme, rules),
        }
    }

    /// Video from standard input, to its end. It cannot be sought, so an MP4 must begin with its
    /// index.
    ///
    /// # Errors
    /// `FILE_NOT_FOUND` when it is a terminal or closed.
    pub fn standard_input() -> Result<Self, Fault> {
        use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
        let input = std::io::stdin();
        let fault = |what: &str| {
            let what = format!("standard input {what}; pipe a video into it");
            Fault::new(FaultReason::FileNotFound, what)
        };
        if std::io::IsTerminal::is_terminal(&input) {
            return Err(fault("is a terminal"));
        }
        // FFmpeg looks at the deadline between reads only, so no read may wait.
        fcntl_getfl(&input)
            .and_then(|flags| fcntl_setfl(&input, flags | OFlags::NONBLOCK))
            .map_err(|why| fault(&format!("cannot be read: {why}")))?;
        Ok(Self {
            target: "pipe:0".to_owned(),
            shown: "standard input".to_owned(),
            protocols: "pipe".to_owned(),
            formats: FILE_FORMATS.to_owned(),
            is_file: true,
            scheme: "pipe".to_owned(),
            rtsp_transport: ANY_TRANSPORT,
            resolver: None,
        })
    }

    /// A camera. Roots do not hold for it: that `v4l2` is allowed is what allows it.
    fn check_device(path: &Path, rules: &AccessRules) -> Result<Self, Fault> {
        let shown = path.display();
        require(DEVICE, rules)?;
        let real = path.canonicalize().map_err(|why| {
            let what = format!("there is no camera '{shown}': {why}");
            Fault::new(FaultReason::FileNotFound, what)
        })?;
        let name = real.to_str().filter(|_| is_camera(&real)).ok_or_else(|| {
            let what = format!("'{shown}' is no camera (/dev/video0, /dev/video1, ...)");
            Fault::new(FaultReason::NotAVideo, what)
        })?;
        Ok(Self {
            target: name.to_owned(),
            shown: name.to_owned(),
            protocols: "file".to_owned(),
            formats: DEVICE_FORMATS.to_owned(),
            is_file: false,
            scheme: DEVICE.to_owned(),
            rtsp_transport: ANY_TRANSPORT,
            resolver: None,
        })
    }

    fn check_page(page: &str, rules: &AccessRules) -> Result<Self, Fault> {
        let scheme = scheme_of(page).unwrap_or_default();
        let refuse = |what: &str| Err(Fault::new(FaultReason::ProtocolNotAllowed, what));
        if !["http", "https"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
        {
            return refuse("a page is written page+https://.. or page+http://..");
        }
        if rules.resolver_command.is_empty() {
            return refuse(
                "pages need a program that finds the stream on them; set ingest.resolver_command",
            );
        }
        let mut location = Self::check_url(page, scheme, rules)?;
        location.resolver = Some(Box::new(Resolver::new(page, rules)));
        Ok(location)
    }

    /// What a resolver found: a stream on the network, and nothing else.
    pub(super) fn check_resolved(uri: &str, rules: &AccessRules) -> Result<Self, Fault> {
        match scheme_of(uri) {
            Some(scheme) if !matches!(scheme, "file" | DEVICE) && uri.contains("://") => {
                Self::check_url(uri, scheme, rules)
            }
            Some(_) | None => Err(Fault::new(
                FaultReason::ProtocolNotAllowed,
                "what the resolver found is no address on the network",
            )),
        }
    }

    fn check_file(path: &Path, rules: &AccessRules) -> Result<Self, Fault> {
        let shown = path.display().to_string();
        let fault = |reason, what: &str| Fault::new(reason, format!("'{shown}' {what}"));
        let real = path.canonicalize().map_err(|why| {
            let what = if why.kind() == ErrorKind::NotFound {
                "does not exist".to_owned()
            } else {
                format!("cannot be opened: {why}")
            };
            fault(FaultReason::FileNotFound, &what)
        })?;
        if let Some(roots) = &rules.file_roots {
            let inside = roots
                .iter()
                .filter_map(|r| r.canonicalize().ok())
                .any(|r| real.starts_with(r));
            if !inside {
                let what = "lies outside the folders that may be read; add its folder to ingest.file_roots";
                return Err(fault(FaultReason::FileOutsideRoots, what));
            }
        }
        let facts = real
            .metadata()
            .map_err(|why| fault(FaultReason::FileNotFound, &format!("cannot be read: {why}")))?;
        if facts.file_type().is_char_device() && is_camera(&real) {
            return Self::check_device(&real, rules);
        }
        if !facts.is_file() {
            return Err(fault(
                FaultReason::NotAVideo,
                "is a folder or a device, not a file",
            ));
        }
        if facts.len() == 0 {
            return Err(fault(FaultReason::NotAVideo, "is empty (0 bytes)"));
        }
        let Some(name) = real.to_str() else {
            return Err(fault(
                FaultReason::FileNotFound,
                "has a name that is not UTF-8; rename it",
            ));
        };
        Ok(Self {
            // The prefix keeps a colon in the name from being read as a protocol.
            target: format!("file:{name}"),
            shown: name.to_owned(),
            protocols: "file".to_owned(),
            formats: FILE_FORMATS.to_owned(),
            is_file: true,
            scheme: "file".to_owned(),
            rtsp_transport: ANY_TRANSPORT,
            resolver: None,
        })
    }

    fn check_url(uri: &str, scheme: &str, rules: &AccessRules) -> Result<Self, Fault> {
        let scheme = scheme.to_ascii_lowercase();
        require(&scheme, rules)?;
        let (uri, rtsp_transport) = split_transport(uri, &scheme);
        let allowed = |name: &str| allows(rules, name);
        // What the protocol itself is carried by, and what its playlists may point at.
        let mut protocols: Vec<&str> = vec![&scheme];
        match scheme.as_str() {
            "http" | "https" => {
                protocols.extend(["tcp", "tls", "httpproxy", "crypto"]);
                protocols.extend(["http", "https"].into_iter().filter(|p| allowed(p)));
            }
            "rtsp" | "rtsps" => protocols.extend(["rtp", "rtcp", "srtp", "udp", "tcp", "tls"]),
            "rtmp" | "rtmps" | "rtmpt" => protocols.extend(["tcp", "tls"]),
            "rtp" => protocols.extend(["udp", "rtcp"]),
            _ => {}
        }
        protocols.dedup();
        Ok(Self {
            target: uri.to_owned(),
            shown: crate::observe::mask_credentials(uri),
            protocols: protocols.join(","),
            formats: format!("{STREAM_FORMATS},{FILE_FORMATS}"),
            is_file: false,
            scheme,
            rtsp_transport,
            resolver: None,
        })
    }

    /// The place for people: credentials are masked.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether it is a file on this machine.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.is_file
    }
}

/// Takes `#transport=udp` or `#transport=tcp`, which is never sent, off an RTSP address.
fn split_transport<'a>(uri: &'a str, scheme: &str) -> (&'a str, &'static str) {
    let chosen = ["tcp", "udp"].into_iter().find_map(|transport| {
        let address = uri.strip_suffix(transport)?.strip_suffix("#transport=")?;
        Some((address, transport))
    });
    let chosen = chosen.filter(|_| scheme.starts_with("rtsp"));
    chosen.unwrap_or((uri, ANY_TRANSPORT))
}

fn allows(rules: &AccessRules, name: &str) -> bool {
    rules.protocols.iter().any(|p| p.eq_ignore_ascii_case(name))
}

fn require(scheme: &str, rules: &AccessRules) -> Result<(), Fault> {
    if scheme != "file" && allows(rules, scheme) {
        return Ok(());
    }
    let what = format!(
        "the protocol '{scheme}' is not allowed here; allowed: {}",
        rules.protocols.join(", ")
    );
    Err(Fault::new(FaultReason::ProtocolNotAllowed, what))
}

/// Whether a path, links followed, is that of a camera.
fn is_camera(real: &Path) -> bool {
    let number = real
        .to_str()
        .and_then(|path| path.strip_prefix("/dev/video"));
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// The scheme of a URL; `None` for a path. FFmpeg takes `scheme:rest` too, so a colon is enough if
/// what is before it could be a scheme and no such file exists.
fn scheme_of(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    let valid = scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let is_url = rest.starts_with("//") || !Path::new(uri).exists();
    (valid && is_url).then_some(scheme)
}

#[cfg(test)]
mod tests;
