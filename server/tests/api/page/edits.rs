//! Edits made on the page.

use super::a_collection;
use super::client::Page;
use crate::support::Fixture;
use rollcall_server::pb;

pub async fn page() -> (Fixture, Page) {
    let fixture = Fixture::start().await;
    a_collection(&fixture).await;
    let page = Page::of(&fixture);
    (fixture, page)
}

#[tokio::test]
async fn an_edit_leads_back_tells_of_itself_and_is_undone() {
    let (_fixture, page) = page().await;
    let fields = [("name", "Ada"), ("back", "/people?which=all&done=1#x")];
    let made = page.post("/people/1/update", &fields).await;
    let named = made.done();
    assert_eq!(
        made.header("location"),
        format!("/people?which=all&done={named}")
    );
    let list = page.get(made.header("location")).await;
    list.holds("Person 1: name \u{201c}Ada\u{201d}.");
    list.holds(&format!("action=\"/edits/{named}/undo\""));
    list.holds("<b>Ada</b>");
    let undo = page
        .post(&format!("/edits/{named}/undo"), &[("back", "/people/1")])
        .await;
    let undone = undo.done();
    let person = page.get(undo.header("location")).await;
    person
        .holds("<h1>Person 1</h1>")
        .holds(&format!("Edit {named} was taken back."));
    person.holds(&format!("taken back by edit {undone}"));
    let again = page.post(&format!("/edits/{named}/undo"), &[]).await;
    again.refused(409, "ALREADY_UNDONE");
    page.post("/edits/99999/undo", &[])
        .await
        .refused(404, "EDIT_NOT_FOUND");
}

#[tokio::test]
async fn what_is_said_of_a_person() {
    let (_fixture, page) = page().await;
    let update = async |fields: &[(&str, &str)]| page.post("/people/1/update", fields).await;
    update(&[("external_id", "hr-7"), ("confirmed", "yes")])
        .await
        .done();
    let note = [
        ("metadata", "set"),
        ("key", "team"),
        ("value", "red\r\nand blue"),
    ];
    update(&note).await.done();
    let person = page.get("/people/1").await;
    person.holds("<b>Confirmed.</b>").holds("value=\"hr-7\"");
    person
        .holds("team <textarea")
        .holds("red\nand blue</textarea>");
    update(&[("metadata", "remove"), ("key", "team")])
        .await
        .done();
    update(&[("hidden", "yes")]).await.done();
    let person = page.get("/people/1").await;
    person
        .holds("Notes (0)")
        .holds("<b>Hidden.</b>")
        .holds("Show again");
    update(&[("hidden", "no"), ("confirmed", "no")])
        .await
        .done();
    update(&[]).await.refused(400, "INVALID_ARGUMENT");
    update(&[("name", "a\u{7}b")])
        .await
        .refused(400, "INVALID_NAME");
    let nobody = page.post("/people/999/update", &[("name", "x")]).await;
    nobody.refused(404, "IDENTITY_NOT_FOUND");
}

#[tokio::test]
async fn a_form_sent_twice_has_one_effect_and_a_stale_one_none() {
    let (_fixture, page) = page().await;
    let person = page.get("/people/1").await;
    let (etag, request) = (person.field("etag"), person.field("request_id"));
    let fields = [
        ("name", "Ada"),
        ("etag", etag.as_str()),
        ("request_id", request.as_str()),
    ];
    let first = page.post("/people/1/update", &fields).await.done();
    assert_eq!(page.post("/people/1/update", &fields).await.done(), first);
    let late = [("name", "Eve"), ("etag", etag.as_str())];
    page.post("/people/1/update", &late)
        .await
        .refused(409, "ETAG_MISMATCH");
    page.get("/people/1").await.holds("<h1>Ada</h1>");
    assert_ne!(page.get("/people/1").await.field("request_id"), request);
}

#[tokio::test]
async fn people_are_merged_by_id_and_by_name() {
    let (_fixture, page) = page().await;
    page.post("/people/2/update", &[("name", "Ada L.")])
        .await
        .done();
    let fields = [
        ("into", " ada l. "),
        ("back", "/people/1"),
        ("reason", "same coat"),
    ];
    let merged = page.post("/people/1/merge", &fields).await;
    let sequence = merged.done();
    let moved = page.get(merged.header("location")).await;
    assert_eq!(
        moved.header("location"),
        format!("/people/2?done={sequence}")
    );
    let person = page.get(moved.header("location")).await;
    person.holds("Person 1 became a part of person 2 (2 tracks).");
    person.holds("Person 2: 3 tracks").holds(": same coat");
    for (into, code, reason) in [
        ("2", 400, "MERGE_WITH_ITSELF"),
        ("Nobody", 400, "INVALID_ARGUMENT"),
        ("", 400, "INVALID_ARGUMENT"),
        ("999", 404, "IDENTITY_NOT_FOUND"),
    ] {
        let refused = page.post("/people/2/merge", &[("into", into)]).await;
        refused.refused(code, reason);
    }
    // What an edit rests on is not taken away under it.
    page.post("/people/2/update", &[("name", "Eve")])
        .await
        .done();
    let back = page.post(&format!("/edits/{sequence}/undo"), &[]).await;
    back.done();
}

#[tokio::test]
async fn one_name_for_two_is_asked_about() {
    let (_fixture, page) = page().await;
    page.post("/people/1/update", &[("name", "Ada")])
        .await
        .done();
    let fields = [("name", "ADA"), ("back", "/people/2")];
    let asked = page.post("/people/2/update", &fields).await;
    asked.refused(409, "NAME_TAKEN");
    asked
        .holds("action=\"/people/2/merge\"")
        .holds("name=\"into\" value=\"1\"");
    asked
        .holds("name=\"name\" value=\"ADA\"")
        .holds("name=\"back\" value=\"/people/2\"");
    let fields = [&fields[..], &[("allow_duplicate_name", "yes")]].concat();
    page.post("/people/2/update", &fields).await.done();
    let vague = page.post("/people/3/merge", &[("into", "Ada")]).await;
    vague
        .refused(400, "INVALID_ARGUMENT")
        .holds("2 people are named");
}

#[tokio::test]
async fn edits_bear_the_name_in_the_cookie() {
    let (fixture, page) = page().await;
    let kept = page
        .post("/author", &[("author", "Zoë & Co"), ("back", "/people/1")])
        .await;
    assert_eq!((kept.code, kept.header("location")), (303, "/people/1"));
    let cookie = kept.header("set-cookie").to_owned();
    assert!(
        cookie.contains("SameSite=Strict") && cookie.contains("HttpOnly"),
        "{cookie}"
    );
    let pair = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    let person = page.get_with("/people/1", &pair).await;
    person.holds("Zoë &#38; Co</a>");
    let token = page.token().await;
    let body = super::client::encoded([("name", "Ada"), ("csrf", token.as_str())]);
    let head = page.form_head(&pair);
    page.send("POST", "/people/1/update", &head, body.as_bytes())
        .await
        .done();
    page.post("/people/2/update", &[("name", "Bob")])
        .await
        .done();
    let method = "/rollcall.v1.IdentityService/ListEdits";
    let request = pb::ListEditsRequest::default();
    let edits: pb::ListEditsResponse = fixture.api.call(method, request).await.unwrap();
    let authors: Vec<&str> = edits
        .edits
        .iter()
        .map(|edit| edit.author.as_str())
        .collect();
    assert_eq!(authors, ["page", "Zoë & Co"]);
    page.post("/author", &[("author", "a\nb")])
        .await
        .refused(400, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn what_waits_is_merged() {
    let (_fixture, page) = page().await;
    let review = page.get("/review").await;
    // Identity 4 lies between 1 and 3.
    review
        .holds("1 waiting")
        .holds("id=\"review-4\"")
        .holds("action=\"/people/4/merge\"");
    let merged = page
        .post("/people/4/merge", &[("into", "1"), ("back", "/review")])
        .await;
    let sequence = merged.done();
    let after = page.get(merged.header("location")).await;
    after
        .holds("Nothing waits.")
        .holds("Person 4 became a part of person 1");
    page.post(&format!("/edits/{sequence}/undo"), &[])
        .await
        .done();
    page.get("/review").await.holds("1 waiting");
}
