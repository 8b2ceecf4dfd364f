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
            ..
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

#[test]
fn pages_and_cameras_must_be_allowed() {
    let none = rules(&[], "127.0.0.1:0");
    for uri in [
        "page+https://h/watch",
        "v4l2:/dev/video987",
        "V4L2:/dev/null",
    ] {
        let error = none.check(uri).unwrap_err();
        assert!(matches!(error, UriError::Protocol { .. }), "{uri}: {error}");
    }
    let mut config = Config::default();
    config.ingest.protocols.push("v4l2".to_owned());
    config.ingest.resolver_command = vec!["yt-dlp".to_owned()];
    let allowed = SourceRules::new(&config);
    let page = allowed.check("page+https://me:pw@h/watch?v=1").unwrap();
    assert_eq!(page.uri, "page+https://me:pw@h/watch?v=1");
    assert_eq!(
        (page.name.as_str(), page.kind),
        ("https://***@h/watch", SourceKind::Live)
    );
    let missing = allowed.check("v4l2:/dev/video987").unwrap_err();
    assert!(
        matches!(missing, UriError::FileNotFound { .. }),
        "{missing}"
    );
    let other = allowed.check("v4l2:/dev/null").unwrap_err();
    assert!(matches!(other, UriError::NotAFile { .. }), "{other}");
    for uri in [
        "page+rtsp://h/x",
        "page+/etc/passwd",
        "page+page+https://h/",
    ] {
        let error = allowed.check(uri).unwrap_err();
        assert!(matches!(error, UriError::Invalid { .. }), "{uri}: {error}");
    }
}

#[test]
fn folders_and_patterns_stand_for_the_files_that_may_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap().join("root");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    let outside = folder.path().join("secret.mp4");
    std::fs::write(&outside, b"x").unwrap();
    for name in ["a.mp4", "sub/b.mkv", "notes.txt"] {
        std::fs::write(root.join(name), b"x").unwrap();
    }
    std::os::unix::fs::symlink(&outside, root.join("link.mp4")).unwrap();
    let rooted = rules(&[&root], "127.0.0.1:0");
    let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
    let found = |pattern: &str| {
        let answer = rooted.find(&at(pattern)).unwrap();
        let skipped = answer
            .skipped
            .into_iter()
            .map(|file| file.path)
            .collect::<Vec<_>>();
        (answer.uris, skipped)
    };
    let both = vec![at("a.mp4"), at("sub/b.mkv")];
    assert_eq!(
        found(""),
        (both.clone(), vec![at("link.mp4"), at("notes.txt")])
    );
    assert_eq!(found("*.mp4"), (vec![at("a.mp4")], vec![at("link.mp4")]));
    assert_eq!(found("a.mp4"), (vec![at("a.mp4")], vec![]));
    let refused = |pattern: &str| rooted.find(pattern).unwrap_err();
    for pattern in ["/etc/*", "/etc", "/no/such/*.mp4", "*", "/*"] {
        let error = refused(pattern);
        assert!(
            matches!(error, UriError::OutsideRoots { .. }),
            "{pattern}: {error}"
        );
    }
    assert!(matches!(
        refused(&at("*/../../*.mp4")),
        UriError::Invalid { .. }
    ));
    assert!(matches!(
        refused(&at("none/*.mp4")),
        UriError::FileNotFound { .. }
    ));
    assert!(matches!(
        refused(&at("none.mp4")),
        UriError::FileNotFound { .. }
    ));
}
