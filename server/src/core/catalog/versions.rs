//! The tables have a version, and a catalog of another one is made anew.

use super::write::CatalogWriter;
use super::{SCHEMA, SCHEMA_VERSION};
use crate::core::replay::CATALOG_FILE;
use crate::hex::to_hex;
use rollcall_log::record::{Body, CollectionOpened, Record};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of the tables' text of each version, from the first one that was kept on.
const SCHEMAS: [(i64, &str); 2] = [
    (
        6,
        "adb696a6968a9e909df53194e8a61044b78b88aee6b50483a1deb2a59cba7d05",
    ),
    (
        7,
        "693125e501ebb10de591ea537877630974db1b2f26a7e3a9b4bc795dd837c179",
    ),
];

fn opened() -> Record {
    let body = Body::CollectionOpened(CollectionOpened {
        contract: "test".to_owned(),
        dimension: 16,
    });
    Record {
        sequence: 1,
        body: Some(body),
        ..Record::default()
    }
}

#[test]
fn other_tables_have_another_version() {
    let digest = to_hex(&Sha256::digest(SCHEMA.as_bytes()));
    let (version, known) = SCHEMAS[SCHEMAS.len() - 1];
    assert_eq!(
        (SCHEMA_VERSION, &*digest),
        (version, known),
        "the tables have changed: raise SCHEMA_VERSION and add their digest here"
    );
}

#[test]
fn a_catalog_of_another_version_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(CATALOG_FILE);
    let open = || CatalogWriter::open(&path, "log", 1, 1).unwrap();
    let (mut catalog, applied) = open();
    assert_eq!((applied, &catalog.made_anew), (0, &None));
    catalog.apply(&opened()).unwrap();
    catalog.commit(1).unwrap();
    drop(catalog);
    assert_eq!(open().1, 1);
    for version in [0, SCHEMA_VERSION - 1, SCHEMA_VERSION + 1] {
        let db = rusqlite::Connection::open(&path).unwrap();
        db.pragma_update(None, "user_version", version).unwrap();
        drop(db);
        let (mut catalog, applied) = open();
        assert_eq!(applied, 0, "version {version}");
        assert_eq!(
            catalog.made_anew.as_deref(),
            Some("it is of another version")
        );
        catalog.apply(&opened()).unwrap();
        catalog.commit(1).unwrap();
    }
}
