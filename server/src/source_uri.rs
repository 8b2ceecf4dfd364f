//! Checks the address of a source: which protocols, which files.

use crate::config::Config;
use crate::pb::SourceKind;
use crate::url_mask::masked;
use std::path::{Path, PathBuf};
use url::Url;

/// Bytes of an address at most.
const URI_BYTES_MAX: usize = 4096;
/// Endings of URLs that are files, not live streams.
const FILE_ENDINGS: &[&str] = &[
    "mp4", "m4v", "mkv", "mov", "webm", "avi", "mpg", "mpeg", "ts", "m2ts", "mts", "flv", "wmv",
    "ogv", "3gp", "mxf",
];

/// Why an address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// Neither a path nor a URL.
    #[error("uri: {what}")]
    Invalid {
        /// What is wrong with it.
        what: String,
    },
    /// The protocol is not in `ingest.protocols`.
    #[error("{uri}: protocol {protocol} is not allowed here (setting ingest.protocols)")]
    Protocol {
        /// Masked.
        uri: String,
        /// The one asked for.
        protocol: String,
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

    /// Checks an address. Looks at the file system for paths; opens nothing.
    ///
    /// # Errors
    /// [`UriError`].
    pub fn check(&self, uri: &str) -> Result<CheckedUri, UriError> {
        let invalid = |what: &str| UriError::Invalid {
            what: what.to_owned(),
        };
        if uri.trim().is_empty() {
            return Err(invalid("is empty; give a path on the server, or a URL"));
        }
        if uri.len() > URI_BYTES_MAX {
            return Err(invalid("is longer than 4096 bytes"));
        }
        if uri.chars().any(char::is_control) {
            return Err(invalid("has control characters"));
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
            });
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
        let file = url.path().rsplit('/').next().unwrap_or_default();
        let ending = file
            .rsplit_once('.')
            .map(|(_, ending)| ending.to_ascii_lowercase());
        let is_file = matches!(protocol.as_str(), "http" | "https")
            && ending.is_some_and(|ending| FILE_ENDINGS.contains(&ending.as_str()));
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

    fn check_path(&self, given: &str, path: &Path) -> Result<CheckedUri, UriError> {
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
        let path = found.map_err(|error| UriError::FileNotFound {
            path: shown.clone(),
            why: error.to_string(),
        })?;
        if path.is_dir() {
            return Err(UriError::NotAFile { path: shown });
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
mod tests {
    use super::*;

    fn rules(roots: &[&Path], listen: &str) -> SourceRules {
        let mut config = Config::default();
        config.grpc.listen = listen.parse().unwrap();
        config.ingest.file_roots = roots.iter().map(|root| root.to_path_buf()).collect();
        SourceRules::new(&config)
    }

    #[test]
    fn urls() {
        let rules = rules(&[], "127.0.0.1:0");
        for (uri, kind) in [
            ("rtsp://me:pw@cam/live", SourceKind::Live),
            ("http://h/a/clip.MP4?x=1", SourceKind::File),
            ("https://h/live.m3u8", SourceKind::Live),
            ("srt://h:9000", SourceKind::Live),
            ("udp://239.0.0.1:1234", SourceKind::Live),
        ] {
            let checked = rules.check(uri).unwrap();
            assert_eq!((checked.kind, checked.uri.as_str()), (kind, uri));
            assert!(!checked.name.contains("pw"), "{}", checked.name);
        }
        for (uri, protocol) in [
            ("gopher://h/x", "gopher"),
            ("concat:a.mp4|b.mp4", "concat"),
            ("subfile,,start,0,end,9,,:/etc/passwd", "subfile"),
            ("FTP://me:pw@h/x", "ftp"),
            ("data:video/mp4;base64,AAAA", "data"),
        ] {
            let error = rules.check(uri).unwrap_err();
            let UriError::Protocol {
                uri,
                protocol: found,
            } = error
            else {
                panic!("{error:?}")
            };
            assert_eq!(found, protocol);
            assert!(!uri.contains("pw"), "{uri}");
        }
        for uri in [
            "",
            "  ",
            "rtsp://",
            "http://h:port/x",
            "rtsp://h/\n",
            &"a".repeat(5000),
        ] {
            assert!(
                matches!(rules.check(uri), Err(UriError::Invalid { .. })),
                "{uri:?}"
            );
        }
    }

    #[test]
    fn paths() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("a b:c.mp4");
        std::fs::write(&inside, b"x").unwrap();
        let local = rules(&[], "127.0.0.1:0");
        let checked = local.check(inside.to_str().unwrap()).unwrap();
        assert_eq!(
            (checked.name.as_str(), checked.kind),
            ("a b:c.mp4", SourceKind::File)
        );
        let url = Url::from_file_path(&inside).unwrap();
        assert_eq!(local.check(url.as_str()).unwrap(), checked);
        assert!(matches!(
            local.check("/no/such.mp4"),
            Err(UriError::FileNotFound { .. })
        ));
        let folder_itself = folder.path().to_str().unwrap();
        assert!(matches!(
            local.check(folder_itself),
            Err(UriError::NotAFile { .. })
        ));
    }

    #[test]
    fn roots_hold_against_links_and_dots() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let outside = folder.path().join("secret.mp4");
        std::fs::write(&outside, b"x").unwrap();
        std::fs::write(root.join("ok.mp4"), b"x").unwrap();
        std::os::unix::fs::symlink(&outside, root.join("link.mp4")).unwrap();
        let rooted = rules(&[&root], "127.0.0.1:0");
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        rooted.check(&at("ok.mp4")).unwrap();
        for path in [
            at("link.mp4"),
            at("../secret.mp4"),
            "/etc/passwd".into(),
            "/no/such".into(),
        ] {
            let error = rooted.check(&path).unwrap_err();
            assert!(
                matches!(error, UriError::OutsideRoots { .. }),
                "{path}: {error}"
            );
        }
        assert!(matches!(
            rooted.check(&at("none.mp4")),
            Err(UriError::FileNotFound { .. })
        ));
        // Reachable from elsewhere and no roots: no files at all.
        let open = rules(&[], "0.0.0.0:0");
        let error = open.check(&at("ok.mp4")).unwrap_err();
        assert!(matches!(error, UriError::OutsideRoots { .. }), "{error}");
    }
}
