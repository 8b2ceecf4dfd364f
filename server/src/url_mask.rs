//! Hides credentials in URLs before they are shown, logged or put into an error.

const MASK: &str = "***";
/// Query parameters whose values are hidden, by a part of their name.
const SECRET_NAMES: &[&str] = &[
    "pass",
    "pwd",
    "token",
    "secret",
    "key",
    "auth",
    "sig",
    "credential",
    "session",
];

/// `text` with the user part and secret query values of every URL in it replaced by `***`.
///
/// Text without `://` comes back as it is. What looks like a credential is hidden even if it is
/// none.
pub(crate) fn masked(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "\"'<>`|".contains(c));
        let (url, next) = after.split_at(end.unwrap_or(after.len()));
        shown.push_str(&masked_rest(url));
        rest = next;
    }
    shown.push_str(rest);
    shown
}

/// The part of a URL after `://`.
fn masked_rest(url: &str) -> String {
    let authority_end = url.find(['/', '?', '#']).unwrap_or(url.len());
    let begin = &url[..authority_end];
    // A password that was not escaped may hold anything, a `/` or `?` included, and a colon may begin
    // one. So the last `@` of all ends the user part: better hide too much of a path than too little
    // of a password.
    let user_end = url.rfind('@').filter(|_| begin.contains(['@', ':']));
    let (mask, shown) = user_end.map_or(("", url), |at| (MASK, &url[at..]));
    let Some((path, query)) = shown.split_once('?') else {
        return format!("{mask}{shown}");
    };
    let (query, fragment) = query.split_once('#').unwrap_or((query, ""));
    let query: Vec<String> = query.split('&').map(masked_parameter).collect();
    let fragment = if fragment.is_empty() {
        String::new()
    } else {
        format!("#{fragment}")
    };
    format!("{mask}{path}?{}{fragment}", query.join("&"))
}

fn masked_parameter(parameter: &str) -> String {
    let Some((name, _)) = parameter.split_once('=') else {
        return parameter.to_owned();
    };
    let lower = name.to_ascii_lowercase();
    if SECRET_NAMES.iter().any(|secret| lower.contains(secret)) {
        return format!("{name}={MASK}");
    }
    parameter.to_owned()
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn credentials_are_hidden() {
        for (given, shown) in [
            ("/srv/a@b:c.mp4", "/srv/a@b:c.mp4"),
            ("rtsp://10.0.0.1/live", "rtsp://10.0.0.1/live"),
            ("rtsp://me:pw@cam:554/live", "rtsp://***@cam:554/live"),
            ("rtsp://me@cam/live", "rtsp://***@cam/live"),
            ("rtsp://me:p@ss@cam/live", "rtsp://***@cam/live"),
            ("rtsp://me:p/w@cam/live", "rtsp://***@cam/live"),
            ("rtsp://me:p?w@cam/live", "rtsp://***@cam/live"),
            (
                "http://h/a.m3u8?token=abc&x=1#t",
                "http://h/a.m3u8?token=***&x=1#t",
            ),
            (
                "srt://h:1?passphrase=abc&Stream_Key=9",
                "srt://h:1?passphrase=***&Stream_Key=***",
            ),
            ("http://h/@user/clip.mp4", "http://h/@user/clip.mp4"),
            (
                "cannot open 'http://u:p@h/x' and rtmp://u:p@i/y: refused",
                "cannot open 'http://***@h/x' and rtmp://***@i/y: refused",
            ),
        ] {
            assert_eq!(masked(given), shown);
        }
    }

    #[test]
    fn masking_twice_changes_nothing_more() {
        let once = masked("http://u:p@h/x?sig=1&t=2");
        assert_eq!(masked(&once), once);
    }

    proptest::proptest! {
        #![proptest_config(crate::test_config())]
        #[test]
        fn a_password_never_shows(password in "[a-zA-Z0-9!$*+,;=:@/?_-]{6,20}") {
            let text = masked(&format!("rtsp://user:{password}@camera.local:554/live"));
            proptest::prop_assert!(!text.contains(&password), "{}", text);
            proptest::prop_assert!(text.contains("camera.local:554/live"), "{}", text);
        }
    }
}
