//! Tracks that are ticked, and what people say of who is who, on the page.

use super::a_collection;
use super::client::{Page, encoded};
use super::edits::page;
use crate::support::Fixture;

#[tokio::test]
async fn ticked_tracks_are_split_off_and_moved() {
    let (_fixture, page) = page().await;
    let person = page.get("/people/1").await;
    person
        .holds("name=\"track\" value=\"4\"")
        .holds("formaction=\"/people/1/move\"")
        .holds("<option value=\"4\">Person 4, cosine ");
    let etag = person.field("etag");
    let fields = [
        ("track", "4"),
        ("name", "Eve"),
        ("etag", &etag),
        ("back", "/people/1"),
    ];
    let split = page.post("/people/1/split", &fields).await;
    let sequence = split.done();
    let after = page.get(split.header("location")).await;
    after
        .holds("Track 4 of person 1 was split off as person 5 \u{201c}Eve\u{201d}.")
        .holds("Person 1: 1 track");
    page.get("/people/5")
        .await
        .holds("<h1>Eve</h1>")
        .holds("<a href=\"/tracks/4\">track 4</a> was put into <a href=\"/people/5\">person 5</a>");
    // The page was made before that.
    page.post("/people/1/split", &fields)
        .await
        .refused(409, "ETAG_MISMATCH");
    let moved = page
        .post("/people/5/move", &[("track", "4"), ("into", "2")])
        .await
        .done();
    let person = page.get("/people/2").await;
    person
        .holds("Track 4 of person 5 was moved to person 2")
        .holds("Person 2: 2 tracks");
    for undone in [moved, sequence] {
        let undo = format!("/edits/{undone}/undo");
        page.post(&undo, &[]).await.done();
    }
    let person = page.get("/people/1").await;
    person.holds("Person 1: 2 tracks");
    assert!(!person.text().contains("What people say"));
}

#[tokio::test]
async fn a_name_that_is_taken_is_where_the_tracks_may_go() {
    let (_fixture, page) = page().await;
    page.post("/people/2/update", &[("name", "Ada")])
        .await
        .done();
    let fields = [("track", "4"), ("name", "ada"), ("into", "")];
    let asked = page.post("/people/1/split", &fields).await;
    asked
        .refused(409, "NAME_TAKEN")
        .holds("action=\"/people/1/move\"")
        .holds("name=\"track\" value=\"4\"")
        .holds("name=\"into\" value=\"2\"");
    assert_eq!(asked.text().matches("name=\"into\"").count(), 1);
    let two = [&fields[..], &[("allow_duplicate_name", "yes")]].concat();
    page.post("/people/1/split", &two).await.done();
}

#[tokio::test]
async fn not_this_person_and_all_one_person() {
    let (_fixture, page) = page().await;
    let etag = page.get("/people/1").await.field("etag");
    let fields = [
        ("track", "4"),
        ("etag", etag.as_str()),
        ("back", "/people/1"),
    ];
    let rejected = page.post("/people/1/reject", &fields).await;
    rejected.done();
    let after = page.get(rejected.header("location")).await;
    after
        .holds("Track 4 is not person 1; track 4 of person 1 was moved to person 5.")
        .holds("<a href=\"/tracks/4\">track 4</a> is not <a href=\"/people/1\">person 1</a>")
        .holds("action=\"/facts/1/forget\"");
    // What was said is in the way, and can be taken back from there.
    let back = [("track", "4"), ("into", "1"), ("back", "/people/5")];
    let refused = page.post("/people/5/move", &back).await;
    refused
        .refused(409, "FACTS_CONTRADICT")
        .holds("action=\"/facts/1/forget\"")
        .holds("<a href=\"/people/1\">person 1</a>")
        .holds("name=\"back\" value=\"/people/5\"");
    assert!(!refused.text().contains("name=\"partial\""));
    let track = page.get("/tracks/4").await;
    track.holds("but people say that it is not them");
    let forgot = page.post("/facts/1/forget", &[("back", "/people/1")]).await;
    forgot.done();
    page.get(forgot.header("location"))
        .await
        .holds("No longer said: track 4 is not person 1.");
    page.post("/facts/1/forget", &[])
        .await
        .refused(404, "FACT_NOT_FOUND");
    let both = [("track", "1"), ("track", "4"), ("back", "/people/1")];
    let linked = page.post("/people/1/link", &both).await;
    linked.done();
    page.get(linked.header("location")).await.holds(
        "Track 1 and track 4 are one person\u{2019}s; track 4 of person 5 was moved to person 1.",
    );
}

#[tokio::test]
async fn a_track_says_why_it_is_whose_it_is() {
    let (_fixture, page) = page().await;
    let track = page.get("/tracks/4").await;
    track
        .holds("<a href=\"/people/1#track-4\"")
        .holds("cosine to the rest of them now: ")
        .holds("Joined person 1 at cosine 1.00")
        .holds("<code>ABOVE_THRESHOLD</code>")
        .holds("action=\"/people/1/reject\"");
    let unsure = page.get("/tracks/5").await;
    unsure
        .holds("Opened person 4, who may be person 1, at ")
        .holds("<code>TOO_CLOSE_TO_CALL</code>")
        .holds("of whom there is nothing else")
        .holds("action=\"/people/4/move\"");
    page.post("/people/4/move", &[("track", "5"), ("into", "3")])
        .await
        .done();
    page.get("/tracks/5")
        .await
        .holds("<a href=\"/people/3#track-5\"")
        .holds("Track 5 of person 4 was moved to person 3")
        .holds("</a> was put into <a href=\"/people/3\">person 3</a>");
    page.get("/tracks/999")
        .await
        .refused(404, "TRACK_NOT_FOUND");
    assert_eq!(page.get("/tracks/x").await.code, 400);
}

#[tokio::test]
async fn an_undo_that_is_built_upon_is_made_in_part() {
    let (_fixture, page) = page().await;
    let fields = [("name", "Ada"), ("external_id", "hr-7")];
    let said = page.post("/people/1/update", &fields).await.done();
    let since = page.post("/people/1/update", &[("name", "Eve")]).await;
    let since = since.done();
    let undo = format!("/edits/{said}/undo");
    let refused = page.post(&undo, &[("back", "/people/1")]).await;
    refused
        .refused(409, "BUILT_UPON")
        .holds(&format!("action=\"/edits/{since}/undo\""))
        .holds("Person 1: name \u{201c}Eve\u{201d}")
        .holds("name=\"partial\" value=\"yes\"");
    let back = [("back", "/people/1"), ("partial", "yes")];
    let part = page.post(&undo, &back).await;
    part.done();
    let person = page.get(part.header("location")).await;
    person
        .holds(&format!(
            "Edit {said} was taken back as far as it could be."
        ))
        .holds("<h1>Eve</h1>");
    assert!(!person.text().contains("value=\"hr-7\""));
}

#[tokio::test]
async fn what_waits_is_told_apart_for_good() {
    let (_fixture, page) = page().await;
    let review = page.get("/review").await;
    review
        .holds("action=\"/people/4/separate\"")
        .holds("name=\"other\" value=\"1\"");
    let fields = [("other", "1"), ("back", "/review")];
    let apart = page.post("/people/4/separate", &fields).await;
    let sequence = apart.done();
    // It may be the third still.
    page.get(apart.header("location"))
        .await
        .holds("name=\"other\" value=\"3\"")
        .holds("Person 4 and person 1 are two people.");
    // Nobody has said that it is right.
    assert!(!page.get("/people/4").await.text().contains("Confirmed"));
    page.post("/people/4/merge", &[("into", "1")])
        .await
        .refused(409, "FACTS_CONTRADICT");
    page.post("/people/4/separate", &fields)
        .await
        .refused(409, "FACT_EXISTS");
    // It holds of whoever the two become.
    let merged = page.post("/people/1/merge", &[("into", "2")]).await.done();
    let asks_about = async |other: u64| {
        let text = page.get("/review").await.text();
        text.contains(&format!("name=\"other\" value=\"{other}\""))
    };
    assert!(!asks_about(2).await && asks_about(3).await);
    for undone in [merged, sequence] {
        let undo = format!("/edits/{undone}/undo");
        page.post(&undo, &[]).await.done();
    }
    assert!(asks_about(1).await && asks_about(3).await);
    // That the track is not the other one is as good.
    page.post("/people/1/reject", &[("track", "5")])
        .await
        .done();
    assert!(!asks_about(1).await && asks_about(3).await);
    page.post("/people/4/separate", &[("other", "3")])
        .await
        .done();
    page.get("/review").await.holds("Nothing waits.");
    page.post("/people/4/separate", &[("other", "4")])
        .await
        .refused(409, "FACTS_CONTRADICT");
    let stale = [("other", "2"), ("other_etag", "x")];
    page.post("/people/4/separate", &stale)
        .await
        .refused(409, "ETAG_MISMATCH");
}

#[tokio::test]
async fn forms_about_tracks_are_guarded_like_all_others() {
    let (_fixture, page) = page().await;
    let token = page.token().await;
    let everything = [("track", "1"), ("into", "2"), ("other", "2")];
    for path in [
        "/people/1/split",
        "/people/1/move",
        "/people/1/reject",
        "/people/1/link",
        "/people/1/separate",
        "/facts/1/forget",
    ] {
        let form = |token: &str| encoded(everything.into_iter().chain([("csrf", token)]));
        let wrong = form("x");
        let head = page.form_head("");
        let answer = page.send("POST", path, &head, wrong.as_bytes()).await;
        answer.refused(403, "FORM_TOKEN");
        let body = form(&token);
        let head = page.form_head("Sec-Fetch-Site: cross-site\r\n");
        let answer = page.send("POST", path, &head, body.as_bytes()).await;
        answer.refused(403, "CROSS_SITE");
        let head = head.replace(&page.0.to_string(), "evil.example");
        let answer = page.send("POST", path, &head, body.as_bytes()).await;
        answer.refused(403, "HOST_NOT_ALLOWED");
        assert_eq!(page.get(path).await.code, 405, "{path}");
    }
    let host = "Host: evil.example\r\n";
    let answer = page.send("GET", "/tracks/1", host, b"").await;
    answer.refused(403, "HOST_NOT_ALLOWED");
    assert!(!page.get("/people/1").await.text().contains("Undo"));
}

#[tokio::test]
async fn forms_about_tracks_name_what_is_there() {
    let (_fixture, page) = page().await;
    for (path, fields, code, reason) in [
        ("/people/1/split", &[][..], 400, "INVALID_ARGUMENT"),
        (
            "/people/1/split",
            &[("track", "x")],
            400,
            "INVALID_ARGUMENT",
        ),
        (
            "/people/1/split",
            &[("track", "999")],
            404,
            "TRACK_NOT_FOUND",
        ),
        ("/people/1/split", &[("track", "2")], 409, "TRACK_ELSEWHERE"),
        (
            "/people/999/reject",
            &[("track", "1")],
            404,
            "IDENTITY_NOT_FOUND",
        ),
        ("/people/1/link", &[("track", "1")], 400, "INVALID_ARGUMENT"),
        ("/people/1/move", &[("track", "1")], 400, "INVALID_ARGUMENT"),
        (
            "/people/1/separate",
            &[("other", "999")],
            404,
            "IDENTITY_NOT_FOUND",
        ),
    ] {
        page.post(path, fields).await.refused(code, reason);
    }
    let stale = [("track", "1"), ("etag", "x")];
    for path in ["/people/1/reject", "/people/1/split"] {
        page.post(path, &stale).await.refused(409, "ETAG_MISMATCH");
    }
    // Sent twice, it has one effect.
    let request = page.get("/people/1").await.field("request_id");
    let fields = [("track", "4"), ("request_id", request.as_str())];
    let first = page.post("/people/1/reject", &fields).await.done();
    assert_eq!(page.post("/people/1/reject", &fields).await.done(), first);
}

#[tokio::test]
async fn the_feed_tells_who_is_who() {
    let fixture = Fixture::start().await;
    a_collection(&fixture).await;
    let page = Page::of(&fixture);
    page.post("/people/4/separate", &[("other", "1")])
        .await
        .done();
    page.post("/people/1/reject", &[("track", "4")])
        .await
        .done();
    page.post("/facts/1/forget", &[]).await.done();
    let both = [("track", "1"), ("track", "4")];
    page.post("/people/1/reject", &[("track", "2")])
        .await
        .done();
    page.get("/")
        .await
        .holds("Person 4</a> is not person 1")
        .holds("Person 1</a> is not who track 4 shows")
        .holds("Person 4</a> may be person 1 after all");
    page.post("/facts/2/forget", &[]).await.done();
    page.post("/people/1/link", &both).await.done();
    page.get("/")
        .await
        .holds("Track 1 and track 4 are one person\u{2019}s: so people say");
}

#[tokio::test]
async fn the_newest_people_come_first_if_asked() {
    let (_fixture, page) = page().await;
    let order = async |path: &str| {
        let text = page.get(path).await.text();
        let parts = text.split("id=\"person-").skip(1);
        let ids = parts.map(|part| part.split_once('"').unwrap().0.parse().unwrap());
        ids.collect::<Vec<u64>>()
    };
    assert_eq!(order("/people").await, [1, 2, 3, 4]);
    assert_eq!(order("/people?order=newest").await, [4, 3, 2, 1]);
    assert_eq!(order("/people?which=unnamed").await, [4, 3, 2, 1]);
    let path = "/people?which=unnamed&order=oldest";
    assert_eq!(order(path).await, [1, 2, 3, 4]);
}
