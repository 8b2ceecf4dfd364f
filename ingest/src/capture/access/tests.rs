use super::*;

fn reason(uri: &str, rules: &AccessRules) -> Result<String, FaultReason> {
    Location::check(uri, rules)
        .map(|l| l.target)
        .map_err(|f| f.reason)
}

#[test]
fn files_stay_under_their_roots() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (folder.path().join("in"), folder.path().join("out"));
    std::fs::create_dir_all(&inside).unwrap();
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::write(inside.join("a:b.mp4"), b"x").unwrap();
    std::fs::write(inside.join("empty.mp4"), b"").unwrap();
    std::fs::write(outside.join("c.mp4"), b"x").unwrap();
    std::os::unix::fs::symlink(outside.join("c.mp4"), inside.join("link.mp4")).unwrap();
    let rules = AccessRules {
        file_roots: Some(vec![inside.clone()]),
        ..Default::default()
    };
    let check = |path: PathBuf| reason(path.to_str().unwrap(), &rules);

    assert!(check(inside.join("a:b.mp4")).unwrap().starts_with("file:/"));
    assert_eq!(check(inside.join("empty.mp4")), Err(FaultReason::NotAVideo));
    assert_eq!(check(inside.clone()), Err(FaultReason::NotAVideo));
    assert_eq!(
        check(inside.join("gone.mp4")),
        Err(FaultReason::FileNotFound)
    );
    assert_eq!(
        check(outside.join("c.mp4")),
        Err(FaultReason::FileOutsideRoots)
    );
    assert_eq!(
        check(inside.join("link.mp4")),
        Err(FaultReason::FileOutsideRoots)
    );
    assert_eq!(
        check(inside.join("../out/c.mp4")),
        Err(FaultReason::FileOutsideRoots)
    );
    let url = format!("file://{}", outside.join("c.mp4").display());
    assert_eq!(reason(&url, &rules), Err(FaultReason::FileOutsideRoots));
    let nowhere = AccessRules {
        file_roots: Some(Vec::new()),
        ..Default::default()
    };
    let path = inside.join("a:b.mp4");
    assert_eq!(
        reason(path.to_str().unwrap(), &nowhere),
        Err(FaultReason::FileOutsideRoots)
    );
}

#[test]
fn only_listed_protocols_pass() {
    let rules = AccessRules {
        file_roots: None,
        protocols: vec!["https".into(), "rtsp".into()],
        resolver_command: Vec::new(),
    };
    assert!(reason("https://host/live.m3u8", &rules).is_ok());
    assert!(reason("RTSP://host/live", &rules).is_ok());
    for uri in [
        "http://host/a",
        "concat:a|b",
        "data:video/mp4,xx",
        "subfile,,:x",
        "pipe:0",
    ] {
        let refused = reason(uri, &rules).unwrap_err();
        let expected = [FaultReason::ProtocolNotAllowed, FaultReason::FileNotFound];
        assert!(expected.contains(&refused), "{uri}: {refused}");
    }
    assert_eq!(
        reason("concat:/etc/a|/etc/b", &rules),
        Err(FaultReason::ProtocolNotAllowed)
    );
    let https = Location::check("https://me:secret@host/live.m3u8", &rules).unwrap();
    assert!(!https.protocols.contains("file") && !https.shown.contains("secret"));
    assert!(
        !https.protocols.split(',').any(|p| p == "http"),
        "{}",
        https.protocols
    );
    let chosen = |uri: &str| {
        let location = Location::check(uri, &rules).unwrap();
        (location.target, location.rtsp_transport)
    };
    assert_eq!(chosen("rtsp://h/a"), ("rtsp://h/a".into(), "tcp+udp"));
    assert_eq!(
        chosen("rtsp://h/a?k=1#transport=udp"),
        ("rtsp://h/a?k=1".into(), "udp")
    );
    assert_eq!(chosen("https://h/a#transport=udp").1, "tcp+udp");
    assert_eq!(reason("", &rules), Err(FaultReason::FileNotFound));
    assert_eq!(reason("a\0b", &rules), Err(FaultReason::FileNotFound));
}

#[test]
fn cameras_are_read_only_where_that_is_allowed() {
    let allowed = AccessRules {
        protocols: vec!["v4l2".into()],
        ..AccessRules::default()
    };
    let check = |uri: &str, rules: &AccessRules| reason(uri, rules).unwrap_err();
    let default = AccessRules::default();
    for uri in ["v4l2:/dev/video987", "v4l2:/dev/null", "v4l2:/etc/passwd"] {
        assert_eq!(check(uri, &default), FaultReason::ProtocolNotAllowed);
    }
    assert_eq!(check("v4l2:/dev/null", &allowed), FaultReason::NotAVideo);
    assert_eq!(check("/dev/null", &allowed), FaultReason::NotAVideo);
    let missing = Location::check("v4l2:/dev/video987", &allowed).unwrap_err();
    assert_eq!(missing.reason, FaultReason::FileNotFound);
    let said = missing.message;
    assert!(said.contains("no camera '/dev/video987'"), "{said}");
    for (path, is) in [
        ("/dev/video0", true),
        ("/dev/video", false),
        ("/dev/videox", false),
    ] {
        assert_eq!(is_camera(Path::new(path)), is, "{path}");
    }
}
