use serde::{Deserialize, Serialize};

/// `scene_changes.json`: the frames that begin a shot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SceneChanges {
    /// Their numbers, in order. The first frame of a film is none.
    pub frame_indices: Vec<u64>,
    /// The film; absent in the file of a shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub movie_id: Option<u64>,
}
