//! The page, as browsers and other web sites meet it.

mod browser;
pub(crate) mod client;
mod edits;
mod safety;
mod sign_in;
mod tracks;

use crate::support::{Fixture, photo, track};
use client::Page;
use rollcall_server::pb;

/// Names that would do harm if they were not escaped.
const SCRIPT: &str = "<script>alert(1)</script>";

/// Person 1 twice and person 2 on one source; then person 3, whom nothing tells from either of 1 and 4.
async fn a_collection(fixture: &Fixture) -> u64 {
    let source = fixture.api.add_remote("studio <b>feed</b>").await;
    let mut run = fixture.api.run(source.id).await;
    for (key, hue) in [(1, 0.0), (2, 120.0), (3, 18.0), (4, 1.0), (5, 9.0)] {
        let from = i64::try_from(key).unwrap() * 10;
        let mut seen = track(key, 1, hue, from, from + 2, true);
        seen.exemplars[0].loose_crop = photo(&[hue]);
        run.track(seen).await;
    }
    run.finish().await;
    source.id
}

#[tokio::test]
async fn every_page_is_there_with_strict_headers() {
    let fixture = Fixture::start().await;
    a_collection(&fixture).await;
    let page = Page::of(&fixture);
    for path in [
        "/",
        "/people",
        "/people/1",
        "/tracks/1",
        "/search",
        "/review",
        "/sources",
        "/author",
        "/static/page.js",
        "/static/page.css",
        "/static/icon.svg",
        "/thumb/1",
    ] {
        let answer = page.get(path).await;
        assert_eq!(answer.code, 200, "{path}");
        let policy = answer.header("content-security-policy");
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        let html = answer.header("content-type").starts_with("text/html");
        let kept = answer.header("cache-control") != "no-store";
        assert_ne!(html, kept, "{path}");
        if html {
            let text = answer.text();
            for inline in ["<style", " style=", " onclick", "javascript:"] {
                assert!(!text.contains(inline), "{path}: {inline}");
            }
            assert_eq!(text.matches("<script").count(), 1, "{path}");
        }
    }
    for path in ["/nothing", "/static/nothing", "/people/999", "/thumb/999"] {
        assert_eq!(page.get(path).await.code, 404, "{path}");
    }
    for path in [
        "/people/x",
        "/thumb/x",
        "/people?page=x",
        "/review?before=x",
    ] {
        assert_eq!(page.get(path).await.code, 400, "{path}");
    }
}

#[tokio::test]
async fn browsers_keep_pictures_and_ask_for_files() {
    let fixture = Fixture::start().await;
    a_collection(&fixture).await;
    let page = Page::of(&fixture);
    for (path, kind, caching) in [
        ("/thumb/1", "image/jpeg", "private, max-age=3600"),
        (
            "/static/page.js",
            "text/javascript; charset=utf-8",
            "no-cache",
        ),
    ] {
        let first = page.get(path).await;
        assert_eq!(first.header("content-type"), kind);
        assert_eq!(first.header("cache-control"), caching);
        let known = format!("If-None-Match: {}\r\n", first.header("etag"));
        let again = page.get_with(path, &known).await;
        assert_eq!((again.code, again.body.len()), (304, 0), "{path}");
        let other = page.get_with(path, "If-None-Match: \"x\"\r\n").await;
        assert_eq!((other.code, other.body), (200, first.body));
    }
}

#[tokio::test]
async fn names_are_shown_not_run() {
    let fixture = Fixture::start().await;
    a_collection(&fixture).await;
    let page = Page::of(&fixture);
    let fields = [
        ("name", SCRIPT),
        ("metadata", "set"),
        ("key", SCRIPT),
        ("value", SCRIPT),
    ];
    let fields = [&fields[..], &[("external_id", SCRIPT), ("reason", SCRIPT)]].concat();
    page.post("/people/1/update", &fields).await.done();
    for path in ["/", "/people", "/people/1", "/people/4", "/review"] {
        let text = page.get(path).await.text();
        assert!(
            !text.contains(SCRIPT) && !text.contains("<b>feed"),
            "{path}"
        );
        assert!(text.contains("alert(1)"), "{path}");
    }
    let answer = page.search(&photo(&[0.0]), None).await;
    assert!(!answer.text().contains(SCRIPT));
    answer.holds("This is &#60;script&#62;alert(1)");
    let found = page.get("/people?name=%3Cscript%3E&which=named").await;
    found.holds("1 found").holds("value=\"&#60;script&#62;\"");
}

#[tokio::test]
async fn people_are_filtered_and_paged() {
    let fixture = Fixture::start().await;
    let page = Page::of(&fixture);
    for number in 0..61 {
        let request = pb::CreateIdentityRequest {
            name: format!("Somebody {number}"),
            ..Default::default()
        };
        let method = "/rollcall.v1.IdentityService/CreateIdentity";
        let _: pb::EditResponse = fixture.api.call(method, request).await.unwrap();
    }
    let first = page.get("/people?name=some&which=named").await;
    first.holds("61 found");
    let text = first.text();
    assert!(text.contains("Somebody 59") && !text.contains("Somebody 60"));
    let (_, next) = text
        .split_once("<a href=\"/people?name=some&#38;which=named&#38;page=")
        .unwrap();
    let token = next.split_once('"').unwrap().0;
    let path = format!("/people?name=some&which=named&page={token}");
    let second = page.get(&path).await;
    second.holds("Somebody 60");
    assert!(!second.text().contains("More people"));
    page.get("/people?which=unnamed").await.holds("0 found");
    a_collection(&fixture).await;
    page.get("/people?which=unnamed").await.holds("4 found");
    page.get("/people?which=named").await.holds("61 found");
    page.post("/people/7/update", &[("hidden", "yes")])
        .await
        .done();
    page.get("/people").await.holds("64 found");
    page.get("/people?hidden=yes").await.holds("65 found");
}

#[tokio::test]
async fn a_person_has_a_time_line_and_crops() {
    let fixture = Fixture::start().await;
    a_collection(&fixture).await;
    let person = Page::of(&fixture).get("/people/1").await;
    person.holds("Person 1: 2 tracks, 2 faces");
    let text = person.text();
    assert_eq!(text.matches("<rect").count(), 2, "{text}");
    person
        .holds("<a href=\"#track-4\"><rect")
        .holds("id=\"track-4\"");
    person
        .holds("0:10 to 0:12")
        .holds("0:40 to 0:42, ".trim_end_matches(", "));
    person.holds("aria-label=\"2 sightings on studio");
    // Whoever is alike is offered for a merge, and nobody else.
    let (_, alike) = text.split_once("class=\"alike\"").unwrap();
    let (alike, _) = alike.split_once("</section>").unwrap();
    assert!(alike.contains("/people/4") && !alike.contains("/people/2"));
}

#[tokio::test]
async fn a_photo_is_answered_face_by_face() {
    let fixture = Fixture::start().await;
    a_collection(&fixture).await;
    let page = Page::of(&fixture);
    page.post("/people/2/update", &[("name", "Ada")])
        .await
        .done();
    let answer = page.search(&photo(&[120.0, 240.0]), None).await;
    answer.holds("Face 1: ").holds("Face 2: ");
    answer
        .holds("This is Ada")
        .holds("Nobody known: none reaches 0.50");
    answer.holds("studio &#60;b&#62;feed&#60;/b&#62;, 0:20 to 0:22");
    assert_eq!(answer.text().matches("<rect class=\"used\"").count(), 2);
    // From the left: the smaller one first, though the larger one is looked up first.
    let text = answer.text();
    assert!(text.find("Face 1: This is Ada").unwrap() < text.find("Face 2: Nobody").unwrap());
    let alone = page.search(&photo(&[0.0]), None).await;
    assert_eq!(alone.text().matches("<h2>This is Person 1</h2>").count(), 1);
    alone.holds("cosine 1.00, 0.");
    // Between 1 and 3 lies 4, who is nearest; between 1 and 4 nobody can tell.
    let unsure = page.search(&photo(&[5.0]), None).await;
    unsure.holds("too close to tell");
}

#[tokio::test]
async fn photos_that_cannot_be_used() {
    let fixture = Fixture::with(|config| config.grpc.message_bytes_max = 1 << 16).await;
    let page = Page::of(&fixture);
    let empty = page.search(b"", None).await;
    empty.refused(400, "IMAGE_UNREADABLE");
    page.search(b"no picture", None)
        .await
        .refused(400, "IMAGE_UNREADABLE");
    page.search(&photo(&[]), None)
        .await
        .refused(409, "NO_FACE_FOUND");
    let large = vec![0; (1 << 16) + (70 << 10)];
    page.search(&large, None)
        .await
        .refused(400, "IMAGE_TOO_LARGE");
    page.search(&photo(&[0.0]), Some("x"))
        .await
        .refused(403, "FORM_TOKEN");
    let head = format!("Host: {}\r\n", page.0);
    let bare = page.send("POST", "/search", &head, &photo(&[0.0])).await;
    bare.refused(400, "NOT_A_FORM");
}

/// Where the feed of a live page goes on.
fn events_path(live: &str) -> String {
    let (_, rest) = live.split_once("data-after=\"").unwrap();
    format!("/events?after={}", rest.split_once('"').unwrap().0)
}

#[tokio::test]
async fn the_feed_goes_on_where_a_browser_left_it() {
    let fixture = Fixture::start().await;
    let page = Page::of(&fixture);
    let source = fixture.api.add_remote("feed").await;
    let mut run = fixture.api.run(source.id).await;
    run.track(track(1, 1, 0.0, 0, 1, true)).await;
    let live = page.get("/").await;
    live.holds("was seen on feed from 0:00 to 0:01")
        .holds("feed: running");
    let path = events_path(&live.text());
    let mut feed = page.feed(&path, "").await;
    run.track(track(2, 1, 120.0, 2, 3, false)).await;
    let (first, row) = feed.row().await;
    assert!(row.contains("is seen on feed from 0:02 on"), "{row}");
    assert!(
        row.contains("id=\"track-2\"") && row.contains("/thumb/2"),
        "{row}"
    );
    drop(feed);
    run.track(track(2, 2, 120.0, 2, 4, true)).await;
    run.track(track(3, 1, 0.0, 5, 6, true)).await;
    // Browsers name the last event themselves, and the address as it was.
    let mut feed = page
        .feed(&path, &format!("Last-Event-ID: {first}\r\n"))
        .await;
    let (_, row) = feed.row().await;
    assert!(row.contains("was seen on feed from 0:02 to 0:04"), "{row}");
    let (_, row) = feed.row().await;
    assert!(row.contains("id=\"track-3\""), "{row}");
    page.get("/events?after=nonsense")
        .await
        .refused(400, "INVALID_CURSOR");
}

#[tokio::test]
async fn watchers_are_limited_and_shutting_down_ends_them() {
    let fixture = Fixture::with(|config| config.watch.subscribers_max = 1).await;
    let page = Page::of(&fixture);
    let path = events_path(&page.get("/").await.text());
    let mut feed = page.feed(&path, "").await;
    fixture.api.add_remote("feed").await;
    let (_, row) = feed.row().await;
    assert!(row.contains("feed: queued"), "{row}");
    page.get(&path).await.refused(429, "OVERLOADED");
    fixture.server.stop().await;
}
