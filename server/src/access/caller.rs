//! Whoever makes a call.

use super::role::{Needs, Role};
use crate::error::ApiError;
use serde::Serialize;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

tokio::task_local! {
    static CALLER: Caller;
    static NOTES: Arc<Mutex<Notes>>;
}

/// Ids of a kind that are noted of a call at most.
const NOTED_MAX: usize = 16;

/// What a request names, as far as it is of interest to the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Notes {
    /// The request's id; empty: none.
    pub(crate) request_id: String,
    /// Identities that it names.
    pub(crate) identities: Vec<u64>,
    /// Sources that it names.
    pub(crate) sources: Vec<u64>,
}

impl Notes {
    /// Notes something of the call that is being served.
    fn add(note: impl FnOnce(&mut Self)) {
        let _ = NOTES.try_with(|notes| {
            note(&mut notes.lock().unwrap_or_else(PoisonError::into_inner));
        });
    }

    /// Notes the request's id.
    pub(crate) fn request_id(id: &str) {
        Self::add(|notes| id.clone_into(&mut notes.request_id));
    }

    /// Notes an identity that the request names.
    pub(crate) fn identity(id: u64) {
        Self::add(|notes| note_id(&mut notes.identities, id));
    }

    /// Notes a source that the request names.
    pub(crate) fn source(id: u64) {
        Self::add(|notes| note_id(&mut notes.sources, id));
    }
}

fn note_id(ids: &mut Vec<u64>, id: u64) {
    if ids.len() < NOTED_MAX && !ids.contains(&id) {
        ids.push(id);
    }
}

/// Whoever makes a call: the owner of a key, a worker of this server, or, where no keys are asked for, anybody. Cheap
/// to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller(Option<Arc<Known>>);

#[derive(Debug, PartialEq, Eq)]
enum Known {
    Owner {
        /// The key's; a token has none.
        id: Option<String>,
        /// The key's label, or its id.
        name: String,
        role: Role,
        /// Those that the key is for; `None`: all.
        sources: Option<Vec<u64>>,
        /// When the token ends, Unix time in seconds; a key can tell by itself.
        ends: Option<i64>,
    },
    /// Of this source.
    Worker(u64),
}

impl Caller {
    /// Somebody who was not asked.
    pub(crate) const ANYBODY: Self = Self(None);

    /// The owner of a key.
    pub(crate) fn owner(id: &str, label: &str, role: Role, sources: Option<Vec<u64>>) -> Self {
        let name = if label.is_empty() { id } else { label };
        Self(Some(Arc::new(Known::Owner {
            id: Some(id.to_owned()),
            name: name.to_owned(),
            role,
            sources,
            ends: None,
        })))
    }

    /// Whoever an identity provider says it is, until then (Unix time in seconds).
    pub(crate) fn token(subject: &str, role: Role, sources: Option<Vec<u64>>, ends: i64) -> Self {
        Self(Some(Arc::new(Known::Owner {
            id: None,
            name: subject.to_owned(),
            role,
            sources,
            ends: Some(ends),
        })))
    }

    /// This server's own worker for that source.
    pub(crate) fn worker(source: u64) -> Self {
        Self(Some(Arc::new(Known::Worker(source))))
    }

    /// Whoever makes the call that is being served; anybody where none is.
    pub(crate) fn current() -> Self {
        CALLER.try_with(Self::clone).unwrap_or(Self::ANYBODY)
    }

    /// Makes this the [`Caller::current`] one of everything that `call` awaits, and `notes` what it notes. What it
    /// spawns does not know.
    pub(crate) fn during<F: Future>(
        self,
        notes: Arc<Mutex<Notes>>,
        call: F,
    ) -> impl Future<Output = F::Output> {
        NOTES.scope(notes, CALLER.scope(self, call))
    }

    /// The key's id.
    pub(crate) fn id(&self) -> Option<&str> {
        match self.0.as_deref()? {
            Known::Owner { id, .. } => id.as_deref(),
            Known::Worker(_) => None,
        }
    }

    /// When the token ends that it came with, Unix time in seconds.
    pub(crate) fn ends(&self) -> Option<i64> {
        match self.0.as_deref()? {
            Known::Owner { ends, .. } => *ends,
            Known::Worker(_) => None,
        }
    }

    /// Whether it is a worker of this server.
    pub(crate) fn is_worker(&self) -> bool {
        matches!(self.0.as_deref(), Some(Known::Worker(_)))
    }

    /// The key's label, or its id.
    pub(crate) fn name(&self) -> Option<&str> {
        match self.0.as_deref()? {
            Known::Owner { name, .. } => Some(name),
            Known::Worker(_) => None,
        }
    }

    /// The key's role.
    pub(crate) fn role(&self) -> Option<Role> {
        match self.0.as_deref()? {
            Known::Owner { role, .. } => Some(*role),
            Known::Worker(_) => None,
        }
    }

    /// Whether the caller may what `least` may.
    pub(crate) fn may(&self, least: Role) -> bool {
        match self.0.as_deref() {
            None => true,
            Some(Known::Owner { role, .. }) => role.may(least),
            Some(Known::Worker(_)) => false,
        }
    }

    /// The sources that the caller may see; `None`: all.
    pub(crate) fn scope(&self) -> Option<&[u64]> {
        match self.0.as_deref()? {
            Known::Owner { sources, .. } => sources.as_deref(),
            Known::Worker(source) => Some(std::slice::from_ref(source)),
        }
    }

    /// Whether the caller may see that source.
    pub(crate) fn sees(&self, source: u64) -> bool {
        self.scope().is_none_or(|scope| scope.contains(&source))
    }

    /// Refuses what the caller may not.
    ///
    /// # Errors
    /// [`ApiError::RoleInsufficient`], [`ApiError::SourceOutOfScope`].
    pub(crate) fn check(&self, method: &str, needs: Needs) -> Result<(), ApiError> {
        let Needs::Key { least, by_source } = needs else {
            return Ok(());
        };
        let role = match self.0.as_deref() {
            None => return Ok(()),
            Some(Known::Worker(_)) if method == super::gate::OBSERVE => return Ok(()),
            Some(Known::Worker(_)) => "worker",
            Some(Known::Owner { role, .. }) if role.may(least) => role.name(),
            Some(Known::Owner { role, .. }) => {
                let role = role.name();
                return Err(ApiError::RoleInsufficient { role, least });
            }
        };
        match self.scope() {
            Some(_) if role == "worker" => Err(ApiError::RoleInsufficient { role, least }),
            Some(_) if !by_source => Err(ApiError::NotBySource),
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses a source that the caller may not see.
    ///
    /// # Errors
    /// [`ApiError::SourceOutOfScope`].
    pub(crate) fn check_source(&self, id: u64) -> Result<(), ApiError> {
        Notes::source(id);
        if self.sees(id) {
            Ok(())
        } else {
            Err(ApiError::SourceOutOfScope { id })
        }
    }

    /// The sources to look at when `asked` are asked for: those; without any, those that the caller may see. Empty:
    /// all.
    ///
    /// # Errors
    /// [`ApiError::SourceOutOfScope`] if one is asked for that the caller may not see.
    pub(crate) fn sources(&self, asked: Vec<u64>) -> Result<Vec<u64>, ApiError> {
        match self.scope() {
            Some(scope) if asked.is_empty() => Ok(scope.to_vec()),
            Some(_) | None => {
                asked.iter().try_for_each(|id| self.check_source(*id))?;
                Ok(asked)
            }
        }
    }

    /// What is recorded as the author: the key's label, with who its owner says to be in brackets; without a key,
    /// what is said.
    pub(crate) fn author(&self, said: &str) -> String {
        match self.name() {
            None => said.to_owned(),
            Some(name) if said.is_empty() || said == name => name.to_owned(),
            Some(name) => format!("{name} ({said})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_are_keys_and_what_their_owners_say() {
        let kiosk = Caller::owner("a1", "kiosk", Role::Editor, None);
        assert_eq!(kiosk.author(""), "kiosk");
        assert_eq!(kiosk.author("kiosk"), "kiosk");
        assert_eq!(kiosk.author("Ada"), "kiosk (Ada)");
        let unnamed = Caller::owner("a1", "", Role::Editor, None);
        assert_eq!(unnamed.author(""), "a1");
        assert_eq!(Caller::ANYBODY.author("Ada"), "Ada");
    }

    #[test]
    fn a_scope_bounds_what_is_asked_for() {
        let some = Caller::owner("a1", "", Role::Reader, Some(vec![2, 3]));
        assert_eq!(some.sources(Vec::new()).unwrap(), [2, 3]);
        assert_eq!(some.sources(vec![3]).unwrap(), [3]);
        let refused = some.sources(vec![3, 4]).unwrap_err();
        assert_eq!(refused.reason(), "SOURCE_OUT_OF_SCOPE");
        let all = Caller::owner("a1", "", Role::Reader, None);
        assert!(all.sources(Vec::new()).unwrap().is_empty());
        assert!(all.sees(7) && some.sees(2) && !some.sees(7));
    }

    #[test]
    fn workers_report_and_do_nothing_else() {
        let worker = Caller::worker(2);
        let observe = super::super::needs("rollcall.v1.IngestService", "Observe");
        worker.check(super::super::gate::OBSERVE, observe).unwrap();
        let path = "/rollcall.v1.SourceService/GetSource";
        let get = super::super::needs("rollcall.v1.SourceService", "GetSource");
        let refused = worker.check(path, get).unwrap_err();
        assert_eq!(refused.reason(), "ROLE_INSUFFICIENT");
        assert!(worker.sees(2) && !worker.sees(1));
    }

    #[tokio::test]
    async fn the_call_knows_its_caller() {
        let caller = Caller::worker(2);
        let notes = Arc::default();
        let seen = caller.clone().during(Arc::clone(&notes), async {
            Notes::request_id("r");
            let _ = Caller::current().check_source(7);
            Caller::current()
        });
        let seen = seen.await;
        assert_eq!(seen, caller);
        assert_eq!(Caller::current(), Caller::ANYBODY);
        let notes = notes.lock().unwrap();
        assert_eq!(
            (notes.request_id.as_str(), notes.sources.as_slice()),
            ("r", [7].as_slice())
        );
    }
}
