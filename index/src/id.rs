//! Names of things: numbers that cannot be mistaken for one another.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The id with this number; every number is an id.
            #[must_use]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number this id was made from.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A file or stream.
    SourceId
}
id! {
    /// A face followed within one shot.
    TrackId
}
id! {
    /// A person, named or not. Assigned once, never reused.
    IdentityId
}
id! {
    /// An exemplar: a face of a track that was kept with its embedding.
    FaceId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_number_in_every_direction() {
        assert_eq!(FaceId::new(7).get(), 7);
        assert_eq!(TrackId::new(u64::MAX).to_string(), u64::MAX.to_string());
        assert_eq!(format!("{:>4}", SourceId::new(12)), "  12");
        assert!(IdentityId::new(2) > IdentityId::new(1));
    }
}
