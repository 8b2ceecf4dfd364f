//! Checks the address of a source: which protocols, which files.

use crate::config::Config;
use crate::pb::{self, SourceKind};
use crate::url_mask::masked;
use rollcall_ingest::files::{self, is_named_like_video};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};
use url::Url;

/// Bytes of an address at most.
const URI_BYTES_MAX: usize = 4096;
/// The protocol that stands for cameras of the server's machine.
const DEVICE: &str = "v4l2";
/// Before the address of a page on which a resolver finds the stream.
const PAGE: &str = "page+";

/// Why an address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Neither a path nor a URL.
    #[error("uri: {what}")]
    Invalid {
        /// What is wrong with it.
        what: String,
    },
    /// The settings do not allow the protocol.
    #[error("{uri}: protocol {protocol} is not allowed here (setting {setting})")]
    Protocol {
        /// Masked.
        uri: String,
        /// The one asked for.
        protocol: String,
        /// What would allow it.
        setting: &'static str,
    },
    /// There is no such file on the server.
    #[error("{path}: there is no such file on the server: {why}")]
    FileNotFound {
        /// As given.
        path: String,
        /// What the system says.
        why: String,
    },
    /// A folder, say.
    #[error("{path} is not a file")]
    NotAFile {
        /// As given.
        path: String,
    },
    /// The server may not read files there.
    #[error(
        "{path} lies under none of the folders that this server may read files from (setting ingest.file_roots{hint})"
    )]
    OutsideRoots {
        /// As given.
        path: String,
        /// More to do.
        hint: &'static str,
    },
}

/// What may be read.
#[derive(Clone, Debug)]
pub struct SourceRules {
    protocols: Vec<String>,
    resolver_command: Vec<String>,
    /// `None`: any file.
    roots: Option<Vec<PathBuf>>,
}

/// An address that may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedUri {
    /// A canonical path, or the URL as given, credentials included.
    pub uri: String,
    /// Made from the address, for people.
    pub name: String,
    /// What it most likely is.
    pub kind: SourceKind,
}

impl SourceRules {
    /// The rules that the settings make. Folders that do not exist are left out and reported in the
    /// log.
    pub fn new(config: &Config) -> Self {
        let ingest = &config.ingest;
        let canonical = |root: &PathBuf| match root.canonicalize() {
            Ok(root) => Some(root),
            Err(error) => {
                tracing::warn!(root = %root.display(), %error, "a folder of ingest.file_roots cannot be used");
                None
            }
        };
        let any = ingest.file_roots.is_empty() && config.is_local();
        let roots = (!any).then(|| ingest.file_roots.iter().filter_map(canonical).collect());
        Self {
            protocols: ingest.protocols.clone(),
            resolver_command: ingest.resolver_command.clone(),
            roots,
        }
    }

    /// Folders that files may be read from, as a worker is told.
    pub fn worker_roots(&self) -> Vec<PathBuf> {
        self.roots
            .clone()
            .unwrap_or_else(|| vec![PathBuf::from("/")])
    }

    /// Protocols that FFmpeg may use, as a worker is told.
    pub fn protocols(&self) -> &[String] {
        &self.protocols
    }

    /// The program that finds the stream on a page, as a worker is told.
    pub fn resolver_command(&self) -> &[String] {
        &self.resolver_command
    }

    /// The files that a folder or a pattern stands for, each checked; of a single file, itself.
    ///
    /// # Errors
    /// [`UriError`] when the place itself may not be looked at, or there is too much in it.
    pub fn find(&self, pattern: &str) -> Result<pb::FindFilesResponse, UriError> {
        let invalid = |what: String| UriError::Invalid { what };
        check_text(pattern)?;
        let base = files::pattern_base(pattern);
        let path = Path::new(pattern);
        if base.is_some() && path.components().any(|part| part == Component::ParentDir) {
            return Err(invalid(format!("{pattern}: a pattern must not have '..'")));
        }
        if base.is_some() || path.is_dir() {
            self.real_path(pattern, base.as_deref().unwrap_or(path))?;
        }
        let found = files::find_files(pattern).map_err(|error| invalid(error.to_string()))?;
        let Some(found) = found else {
            let uris = vec![self.check(pattern)?.uri];
            return Ok(pb::FindFilesResponse {
                uris,
                skipped: Vec::new(),
            });
        };
        let skip = |path: &Path, why: &str| pb::SkippedFile {
            path: path.display().to_string(),
            why: why.to_owned(),
        };
        let mut answer = pb::FindFilesResponse::default();
        for path in &found.files {
            match self.check_path(&path.to_string_lossy(), path) {
                Ok(checked) => answer.uris.push(checked.uri),
                Err(error) => answer.skipped.push(skip(path, &error.to_string())),
            }
        }
        let others = found
            .skipped
            .iter()
            .map(|path| skip(path, "not named like a video"));
        answer.skipped.extend(others);
        Ok(answer)
    }

    /// Checks an address. Looks at the file system for paths; opens nothing.
    ///
    /// # Errors
    /// [`UriError`].
    pub fn check(&self, uri: &str) -> Result<CheckedUri, UriError> {
        let invalid = |what: &str| UriError::Invalid {
            what: what.to_owned(),
        };
        check_text(uri)?;
        if let Some(page) = uri.strip_prefix(PAGE) {
            return self.check_page(uri, page);
        }
        let Some(protocol) = protocol_of(uri) else {
            return self.check_path(uri, Path::new(uri));
        };
        if !uri.contains("://") && Path::new(uri).exists() {
            // A file whose name has a colon.
            return self.check_path(uri, Path::new(uri));
        }
        if !self.protocols.contains(&protocol) {
            return Err(UriError::Protocol {
                uri: masked(uri),
                protocol,
                setting: "ingest.protocols",
            });
        }
        if protocol == DEVICE {
            return self.check_device(uri, Path::new(&uri[DEVICE.len() + 1..]));
        }
        let url = Url::parse(uri).map_err(|error| UriError::Invalid {
            what: format!("{}: {error}", masked(uri)),
        })?;
        if protocol == "file" {
            let path = url
                .to_file_path()
                .map_err(|()| invalid("is no file on this machine"))?;
            return self.check_path(uri, &path);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(UriError::Invalid {
                what: format!("{}: names no host", masked(uri)),
            });
        }
        let is_file = matches!(protocol.as_str(), "http" | "https")
            && is_named_like_video(Path::new(url.path()));
        let kind = if is_file {
            SourceKind::File
        } else {
            SourceKind::Live
        };
        let mut bare = url.clone();
        bare.set_query(None);
        bare.set_fragment(None);
        Ok(CheckedUri {
            uri: uri.to_owned(),
            name: masked(bare.as_str()),
            kind,
        })
    }

    /// A page is live unless whoever adds it says otherwise: its address does not tell.
    fn check_page(&self, uri: &str, page: &str) -> Result<CheckedUri, UriError> {
        let invalid = |what: &str| UriError::Invalid {
            what: format!("{}: {what}", masked(uri)),
        };
        if !matches!(protocol_of(page).as_deref(), Some("http" | "https")) {
            return Err(invalid(
                "a page is written page+https://.. or page+http://..",
            ));
        }
        if self.resolver_command.is_empty() {
            return Err(UriError::Protocol {
                uri: masked(uri),
                protocol: "page".to_owned(),
                setting: "ingest.resolver_command",
            });
        }
        let checked = self.check(page)?;
        Ok(CheckedUri {
            uri: uri.to_owned(),
            kind: SourceKind::Live,
            ..checked
        })
    }

    /// A camera. Folders do not hold for it: that the protocol is allowed is what allows it.
    fn check_device(&self, given: &str, path: &Path) -> Result<CheckedUri, UriError> {
        if !self.protocols.iter().any(|allowed| allowed == DEVICE) {
            return Err(UriError::Protocol {
                uri: given.to_owned(),
                protocol: DEVICE.to_owned(),
                setting: "ingest.protocols",
            });
        }
        let real = path
            .canonicalize()
            .map_err(|error| UriError::FileNotFound {
                path: given.to_owned(),
                why: error.to_string(),
            })?;
        if !is_camera(&real) {
            return Err(UriError::NotAFile {
                path: given.to_owned(),
            });
        }
        Ok(CheckedUri {
            uri: format!("{DEVICE}:{}", path.display()),
            name: path.display().to_string(),
            kind: SourceKind::Live,
        })
    }

    /// Follows links, and checks that the end lies under the roots.
    fn real_path(&self, given: &str, path: &Path) -> Result<PathBuf, UriError> {
        let shown = given.to_owned();
        let found = path.canonicalize();
        if let Some(roots) = &self.roots {
            // Said before whether the file exists: what lies outside is nobody's business.
            let inside = |path: &PathBuf| roots.iter().any(|root| path.starts_with(root));
            if !found.as_ref().is_ok_and(inside) {
                let hint = if roots.is_empty() {
                    "; it names none, and the server can be reached from other machines"
                } else {
                    ""
                };
                let missing = path.is_absolute() && roots.iter().any(|root| path.starts_with(root));
                if !(missing && found.is_err()) {
                    return Err(UriError::OutsideRoots { path: shown, hint });
                }
            }
        }
        found.map_err(|error| UriError::FileNotFound {
            path: shown,
            why: error.to_string(),
        })
    }

    fn check_path(&self, given: &str, path: &Path) -> Result<CheckedUri, UriError> {
        if path.canonicalize().is_ok_and(|real| is_camera(&real)) {
            return self.check_device(given, path);
        }
        let path = self.real_path(given, path)?;
        if path.is_dir() {
            return Err(UriError::NotAFile {
                path: given.to_owned(),
            });
        }
        let Some(uri) = path.to_str() else {
            return Err(UriError::Invalid {
                what: "the path is not UTF-8".to_owned(),
            });
        };
        let name = path
            .file_name()
            .map_or_else(|| uri.into(), |name| name.to_string_lossy());
        Ok(CheckedUri {
            uri: uri.to_owned(),
            name: name.into_owned(),
            kind: SourceKind::File,
        })
    }
}

fn check_text(uri: &str) -> Result<(), UriError> {
    let invalid = |what: &str| {
        Err(UriError::Invalid {
            what: what.to_owned(),
        })
    };
    if uri.trim().is_empty() {
        return invalid("is empty; give a path on the server, or a URL");
    }
    if uri.len() > URI_BYTES_MAX {
        return invalid("is longer than 4096 bytes");
    }
    if uri.chars().any(char::is_control) {
        return invalid("has control characters");
    }
    Ok(())
}

/// Whether a path, links followed, is that of a camera.
fn is_camera(real: &Path) -> bool {
    real.starts_with("/dev")
        && real
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("video"))
        && real
            .metadata()
            .is_ok_and(|facts| facts.file_type().is_char_device())
}

/// What stands before the first colon, if it may be a protocol: `rtsp` of `rtsp://..`, `concat` of
/// `concat:a|b`, `subfile` of `subfile,,start,..`.
fn protocol_of(uri: &str) -> Option<String> {
    let end = uri.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c))?;
    let (scheme, rest) = uri.split_at(end);
    let scheme_like = scheme.len() > 1 && scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let options = rest.starts_with(",,") && rest.contains(':');
    (scheme_like && (rest.starts_with(':') || options)).then(|| scheme.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
