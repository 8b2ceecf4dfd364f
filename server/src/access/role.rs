//! What a key may, method by method.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a key may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look, list, search, watch.
    Reader,
    /// What a reader may; add and stop sources, report observations.
    Operator,
    /// What a reader may; edit identities, enrol people, make alert rules.
    Editor,
    /// Everything.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Reader, Self::Operator, Self::Editor, Self::Admin];

    /// As written in files and on command lines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }

    /// Whether this role may what `least` may.
    #[must_use]
    pub fn may(self, least: Self) -> bool {
        self == least || self == Self::Admin || least == Self::Reader
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|role| role.name() == text);
        named.ok_or_else(|| format!("\"{text}\" is no role: reader, operator, editor or admin"))
    }
}

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing: health.
    Nothing,
    /// A key.
    Key {
        /// That may at least this.
        least: Role,
        /// Whether a key for some sources alone will do: the method shows and does nothing of others.
        by_source: bool,
    },
}

impl Needs {
    /// What a method needs that does not exist: a key, to be told so.
    pub(crate) const UNKNOWN: Self = reads(true);
}

const fn reads(by_source: bool) -> Needs {
    Needs::Key {
        least: Role::Reader,
        by_source,
    }
}

const fn only(least: Role) -> Needs {
    Needs::Key {
        least,
        by_source: false,
    }
}

const fn of_sources(least: Role) -> Needs {
    Needs::Key {
        least,
        by_source: true,
    }
}

/// What each method needs, service by service.
const METHODS: &[(&str, &[(&str, Needs)])] = &[
    (
        "rollcall.v1.SearchService",
        &[
            ("SearchImage", reads(true)),
            ("SearchEmbedding", reads(true)),
            ("Follow", reads(true)),
        ],
    ),
    (
        "rollcall.v1.IdentityService",
        &[
            ("GetIdentity", reads(true)),
            // Everybody, with counts and names, whom a key for some sources has not seen.
            ("ListIdentities", reads(false)),
            ("ListFacts", reads(false)),
            ("ListReview", reads(false)),
            ("ExplainTrack", reads(false)),
            ("ListEdits", reads(false)),
            ("RenameIdentity", only(Role::Editor)),
            ("CreateIdentity", only(Role::Editor)),
            ("UpdateIdentity", only(Role::Editor)),
            ("MergeIdentities", only(Role::Editor)),
            ("MoveTracks", only(Role::Editor)),
            ("SplitIdentity", only(Role::Editor)),
            ("LinkTracks", only(Role::Editor)),
            ("Separate", only(Role::Editor)),
            ("RejectTracks", only(Role::Editor)),
            ("EnrolPerson", only(Role::Editor)),
            ("ForgetFact", only(Role::Editor)),
            ("ClusterIdentities", only(Role::Editor)),
            ("UndoEdit", only(Role::Editor)),
        ],
    ),
    (
        "rollcall.v1.SourceService",
        &[
            ("GetSource", reads(true)),
            ("ListSources", reads(true)),
            ("AddSource", only(Role::Operator)),
            ("FindFiles", only(Role::Operator)),
            ("StopSource", of_sources(Role::Operator)),
        ],
    ),
    (
        "rollcall.v1.SightingService",
        &[
            ("ListSightings", reads(true)),
            ("GetThumbnail", reads(true)),
            ("ListTrackFaces", reads(true)),
        ],
    ),
    ("rollcall.v1.WatchService", &[("Watch", reads(true))]),
    (
        "rollcall.v1.AlertService",
        &[
            ("GetAlertRule", reads(false)),
            ("ListAlertRules", reads(false)),
            ("ListAlerts", reads(false)),
            ("CreateAlertRule", only(Role::Editor)),
            ("UpdateAlertRule", only(Role::Editor)),
            ("DeleteAlertRule", only(Role::Editor)),
        ],
    ),
    (
        "rollcall.v1.IngestService",
        &[("Observe", of_sources(Role::Operator))],
    ),
    (
        "rollcall.v1.AdminService",
        &[
            ("GetStatus", reads(false)),
            ("GetMigration", reads(false)),
            ("StartMigration", only(Role::Admin)),
            ("CancelMigration", only(Role::Admin)),
            ("RollBackMigration", only(Role::Admin)),
            ("FinishMigration", only(Role::Admin)),
        ],
    ),
    (
        "rollcall.v1.PrivacyService",
        &[
            ("Erase", only(Role::Admin)),
            ("GetErasure", only(Role::Admin)),
            ("ListErasures", only(Role::Admin)),
        ],
    ),
    (
        "grpc.health.v1.Health",
        &[
            ("Check", Needs::Nothing),
            ("Watch", Needs::Nothing),
            ("List", Needs::Nothing),
        ],
    ),
    (
        "grpc.reflection.v1.ServerReflection",
        &[("ServerReflectionInfo", reads(true))],
    ),
    (
        "grpc.reflection.v1alpha.ServerReflection",
        &[("ServerReflectionInfo", reads(true))],
    ),
];

/// What a method needs. One that the table lacks needs an admin: a test keeps it from lacking any.
pub(crate) fn needs(service: &str, method: &str) -> Needs {
    listed(service, method).unwrap_or(only(Role::Admin))
}

fn listed(service: &str, method: &str) -> Option<Needs> {
    let (_, methods) = METHODS.iter().find(|(name, _)| *name == service)?;
    let found = methods.iter().find(|(name, _)| *name == method);
    found.map(|(_, needs)| *needs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use std::collections::BTreeSet;

    fn served() -> BTreeSet<(String, String)> {
        let sets = [
            crate::FILE_DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut all = BTreeSet::new();
        for set in sets {
            let set = prost_types::FileDescriptorSet::decode(set).unwrap();
            for file in &set.file {
                for service in &file.service {
                    let name = format!("{}.{}", file.package(), service.name());
                    let methods = service.method.iter();
                    all.extend(methods.map(|m| (name.clone(), m.name().to_owned())));
                }
            }
        }
        all
    }

    #[test]
    fn every_method_is_in_the_table_and_nothing_else() {
        let served = served();
        for (service, method) in &served {
            assert!(listed(service, method).is_some(), "{service}/{method}");
        }
        for (service, methods) in METHODS {
            for (method, _) in *methods {
                let pair = ((*service).to_owned(), (*method).to_owned());
                // A newer health service lists too.
                let known = served.contains(&pair) || *service == "grpc.health.v1.Health";
                assert!(known, "{service}/{method} is not served");
            }
        }
        assert_eq!(needs("rollcall.v1.New", "Method"), only(Role::Admin));
    }

    #[test]
    fn roles_may_what_they_say() {
        let check = |role: Role, expected: &[Role]| {
            let may: Vec<Role> = Role::ALL.into_iter().filter(|l| role.may(*l)).collect();
            assert_eq!(may, expected, "{role}");
            assert_eq!(role.name().parse::<Role>().unwrap(), role);
        };
        check(Role::Reader, &[Role::Reader]);
        check(Role::Operator, &[Role::Reader, Role::Operator]);
        check(Role::Editor, &[Role::Reader, Role::Editor]);
        check(Role::Admin, &Role::ALL);
        assert!("root".parse::<Role>().unwrap_err().contains("reader"));
    }

    #[test]
    fn what_changes_something_is_not_for_readers() {
        let reading = [
            "Get", "List", "Search", "Follow", "Watch", "Explain", "Check",
        ];
        for (service, methods) in METHODS {
            for (method, needs) in *methods {
                let reads = reading.iter().any(|start| method.starts_with(start));
                let reads = reads || *method == "ServerReflectionInfo";
                let open = match needs {
                    Needs::Nothing => true,
                    Needs::Key { least, .. } => *least == Role::Reader,
                };
                // Who was erased, and why, is not everybody's.
                let reads = reads && *service != "rollcall.v1.PrivacyService";
                assert_eq!(open, reads, "{service}/{method}");
            }
        }
    }
}
