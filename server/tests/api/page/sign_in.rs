//! Signing in, and what a role is refused and shown.

use super::client::{Answer, Page, encoded};
use crate::access::{guarded, new};
use crate::support::{Api, Fixture, track};
use rollcall_server::access::{KeyFile, NewKey, Role};

const HTML: &str = "Accept: text/html\r\n";

async fn sign_in(page: &Page, key: &str) -> Answer {
    let asked = page.get("/sign-in").await;
    let token = asked.field("csrf");
    let body = encoded([("key", key), ("back", "/people"), ("csrf", &token)]);
    page.send("POST", "/sign-in", &page.form_head(""), body.as_bytes())
        .await
}

/// The header with the session of a key.
async fn session(page: &Page, key: &str) -> String {
    let answer = sign_in(page, key).await;
    assert_eq!(answer.code, 303, "{}", answer.text());
    assert_eq!(answer.header("location"), "/people");
    let cookie = answer.header("set-cookie").to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    format!("Cookie: {}\r\n", cookie.split(';').next().unwrap())
}

/// Asks for keys, and has somebody to edit.
async fn with_person() -> (Fixture, KeyFile, Api) {
    let (fixture, file, admin) = guarded().await;
    let source = admin.add_remote("feed").await;
    let mut run = admin.run(source.id).await;
    run.track(track(1, 1, 0.0, 0, 1, true)).await;
    (fixture, file, admin)
}

/// A key that the server knows of already.
async fn key(page: &Page, file: &KeyFile, new: NewKey) -> (String, String) {
    let (kept, key) = file.create(new).unwrap();
    let bearer = format!("Authorization: Bearer {key}\r\n");
    for _ in 0..3000 {
        if page.get_with("/metrics", &bearer).await.code != 401 {
            return (kept.id, key);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the key is not taken up");
}

async fn rename(page: &Page, headers: &str, token: &str) -> Answer {
    let body = encoded([("name", "Eve"), ("csrf", token)]);
    let head = page.form_head(headers);
    page.send("POST", "/people/1/update", &head, body.as_bytes())
        .await
}

#[tokio::test]
async fn pages_are_for_who_is_signed_in() {
    let (fixture, file, _) = with_person().await;
    let page = Page::of(&fixture);
    let (id, key) = key(&page, &file, new(Role::Editor, "desk")).await;
    for path in ["/", "/people", "/search", "/review", "/sources", "/author"] {
        let answer = page.get_with(path, HTML).await;
        assert_eq!(answer.code, 303, "{path}");
        assert!(answer.header("location").starts_with("/sign-in?to="));
        page.get(path).await.refused(401, "KEY_MISSING");
    }
    for path in ["/events", "/thumb/1"] {
        page.get(path).await.refused(401, "KEY_MISSING");
    }
    assert_eq!(page.get("/static/page.css").await.code, 200);
    for wrong in ["", "x", "rk_00000000_x", &key[..key.len() - 1]] {
        let answer = sign_in(&page, wrong).await;
        answer.refused(401, "KEY_INVALID");
        assert_eq!(answer.header("set-cookie"), "");
    }
    let session = session(&page, &key).await;
    let people = page.get_with("/people", &session).await;
    people.holds("Signed in as desk (editor).");
    assert!(!people.text().contains(&key));
    // A form of another session, or of nobody's, is none of this one.
    let token = page.get("/sign-in").await.field("csrf");
    rename(&page, &session, &token)
        .await
        .refused(403, "FORM_TOKEN");
    let token = page.get_with("/author", &session).await.field("csrf");
    rename(&page, "", &token).await.refused(401, "KEY_MISSING");
    let cross = format!("{session}Sec-Fetch-Site: cross-site\r\n");
    rename(&page, &cross, &token)
        .await
        .refused(403, "CROSS_SITE");
    assert_eq!(rename(&page, &session, &token).await.code, 303);
    let person = page.get_with("/people/1", &session).await;
    person.holds("<h1>Eve</h1>").holds(" by desk,");

    let body = encoded([("csrf", token.as_str())]);
    let head = page.form_head(&session);
    let out = page.send("POST", "/sign-out", &head, body.as_bytes()).await;
    assert!(
        out.header("set-cookie").contains("Max-Age=0"),
        "{}",
        out.code
    );
    // Revoked, a session is over at once for whoever kept the cookie.
    file.revoke(&id).unwrap();
    for _ in 0..3000 {
        if page.get_with("/people", &session).await.code == 401 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the session goes on");
}

#[tokio::test]
async fn readers_look_and_scoped_keys_stay_outside() {
    let (fixture, file, admin) = with_person().await;
    let page = Page::of(&fixture);
    let (_, reader) = key(&page, &file, new(Role::Reader, "")).await;
    let session = session(&page, &reader).await;
    let person = page.get_with("/people/1", &session).await;
    person.holds("<body class=\"reads\">");
    let token = person.field("csrf");
    for path in [
        "/people/1/update",
        "/people/1/merge",
        "/people/1/separate",
        "/people/1/split",
        "/people/1/move",
        "/people/1/reject",
        "/people/1/link",
        "/facts/1/forget",
        "/edits/1/undo",
    ] {
        let body = encoded([("csrf", token.as_str())]);
        let head = page.form_head(&session);
        let answer = page.send("POST", path, &head, body.as_bytes()).await;
        answer.refused(403, "ROLE_INSUFFICIENT");
    }
    let sources = vec![admin.add_remote("x").await.id];
    let scoped = NewKey {
        sources,
        ..new(Role::Admin, "")
    };
    let (_, scoped) = key(&page, &file, scoped).await;
    let answer = sign_in(&page, &scoped).await;
    answer.refused(403, "SOURCE_OUT_OF_SCOPE");
    let bearer = format!("Authorization: Bearer {scoped}\r\n");
    let answer = page.get_with("/people", &bearer).await;
    answer.refused(403, "SOURCE_OUT_OF_SCOPE");
    assert_eq!(page.get_with("/metrics", &bearer).await.code, 403);
}

#[tokio::test]
async fn keys_in_a_header_do_as_well_and_health_needs_none() {
    let (fixture, file, _) = with_person().await;
    let page = Page::of(&fixture);
    let (_, key) = key(&page, &file, new(Role::Editor, "script")).await;
    let bearer = format!("Authorization: Bearer {key}\r\n");
    assert_eq!(page.get_with("/people", &bearer).await.code, 200);
    assert_eq!(rename(&page, &bearer, "").await.code, 303);
    for path in ["/livez", "/healthz", "/readyz"] {
        assert_eq!(page.get(path).await.code, 200, "{path}");
    }
    let refused = page.get("/metrics").await;
    assert_eq!(refused.code, 401);
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    refused.holds("KEY_MISSING");
    page.get_with("/metrics", &bearer)
        .await
        .holds("rollcall_build_info");
}
