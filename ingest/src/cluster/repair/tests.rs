//! The judge, over whatever may be asked of it; and a look at an index.

use super::*;
use proptest::prelude::*;
use rollcall_index::{Embedding, FaceId, Index, Operation, SourceId, TrackId};

fn rules() -> RepairRules {
    RepairRules::new(AssignRules::for_contract(0.40))
}

fn party() -> impl Strategy<Value = (u32, u32, Said)> {
    let said = prop::sample::select(vec![Said::Nothing, Said::Something, Said::Confirmed]);
    (1..40_u32, 1..6_u32, said)
}

fn pair(one: (u32, u32, Said), other: (u32, u32, Said), similarity: f32) -> Pair {
    let party = |id, (tracks, faces, said): (u32, u32, Said)| Party {
        identity: IdentityId::new(id),
        basis: Basis::new(tracks, tracks * faces),
        said,
    };
    Pair {
        one: party(1, one),
        other: party(2, other),
        similarity,
        here: 0,
        together: 0,
        barred: false,
        sources: 4,
        rival_nats: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pair_is_judged_the_same_from_either_side_and_the_bounds_hold(
        one in party(), other in party(), similarity in -1.0_f32..1.0, people in 1..1_000_000_usize,
        together in 0..3_u32, barred in any::<bool>(), rival in prop::option::of(-5.0_f32..20.0),
    ) {
        let asked = Pair { together, barred, rival_nats: rival, ..pair(one, other, similarity) };
        let judged = judge(&asked, people, &rules());
        let turned = Pair { one: asked.other, other: asked.one, ..asked };
        prop_assert_eq!(judge(&turned, people, &rules()), judged);
        if barred {
            prop_assert_eq!(judged, Judgement::Leave);
        }
        if let Judgement::Merge { from, into } = judged {
            let said = [one.2, other.2];
            prop_assert!(together == 0 && said.contains(&Said::Nothing));
            prop_assert!(!said.contains(&Said::Confirmed));
            prop_assert!(similarity >= rules().assign.floor);
            // Of whoever goes nothing was said.
            let gone = if from == asked.one.identity { one.2 } else { other.2 };
            prop_assert!(gone == Said::Nothing && from != into);
        }
    }

    #[test]
    fn more_evidence_is_never_less_to_do(
        one in party(), other in party(), low in -1.0_f32..1.0, more in 0.0_f32..1.0,
    ) {
        let rank = |similarity| match judge(&pair(one, other, similarity), 100, &rules()) {
            Judgement::Leave => 0,
            Judgement::Propose => 1,
            Judgement::Merge { .. } => 2,
        };
        prop_assert!(rank(low) <= rank((low + more).min(1.0)));
    }
}

struct Nothing;

impl Known for Nothing {
    type Error = SearchError;

    fn sources(&self) -> usize {
        1
    }

    fn strangers(&self, _: SourceId) -> f32 {
        1.0
    }

    fn said(&self, _: IdentityId) -> Result<Said, SearchError> {
        Ok(Said::Nothing)
    }

    fn together(&self, _: IdentityId, _: IdentityId) -> Result<u32, SearchError> {
        Ok(0)
    }

    fn barred(&self, _: IdentityId, _: IdentityId) -> Result<bool, SearchError> {
        Ok(false)
    }
}

#[test]
fn two_parts_of_one_person_are_found_and_strangers_left() {
    let mut index = Index::new(64);
    let mut operations = Vec::new();
    // Identities 1 and 2 lie around one axis, 3 around another.
    for (identity, axis) in [(1, 0), (2, 0), (3, 5)] {
        for number in 0..4_u8 {
            let id = identity * 10 + u64::from(number);
            let mut values = vec![0.0; 64];
            values[axis] = 1.0;
            values[20 + usize::from(number) + axis] = 0.5;
            operations.push(Operation::Insert {
                face: FaceId::new(id),
                identity: IdentityId::new(identity),
                track: TrackId::new(id),
                source: SourceId::new(1),
                seen_us: 0,
                quality: 1.0,
                attributes: 0,
                embedding: Embedding::normalise(values).unwrap(),
            });
        }
    }
    index.apply(1, &operations).unwrap();
    let looked = |identity| {
        let found = look(
            index.newest(),
            IdentityId::new(identity),
            &Nothing,
            &rules(),
        );
        found.unwrap().map(|(_, judgement)| judgement)
    };
    let (from, into) = (IdentityId::new(2), IdentityId::new(1));
    assert_eq!(looked(1), Some(Judgement::Merge { from, into }));
    assert_eq!(looked(2), looked(1));
    assert_eq!(looked(3), None);
    assert_eq!(looked(9), None, "there is no such identity");
}
