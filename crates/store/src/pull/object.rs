//! A file in an object store, and why a file or a range of it does not come.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;

#[cfg(feature = "object-stores")]
pub(crate) use stores::{Object, chain};

use super::error::PullError;

/// Why a file, or a range of it, did not come.
pub(crate) enum Broken {
    /// The rest can be asked for again, perhaps after a time that the other side asks for.
    Passing(String, Option<Duration>),
    /// The other side sends all or nothing.
    NoRanges,
    /// It is another file than was announced, or than it was before.
    Changed(String),
    /// It will not come.
    Last(PullError),
}

/// There are none in this build.
#[cfg(not(feature = "object-stores"))]
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub tag: Option<String>,
    never: std::convert::Infallible,
}

/// The bytes of a file.
type Chunks = BoxStream<'static, Result<Bytes, Broken>>;

#[cfg(not(feature = "object-stores"))]
impl Object {
    pub async fn bytes(&self, _: Option<Range<u64>>) -> Result<Chunks, Broken> {
        match self.never {}
    }
}

#[cfg(feature = "object-stores")]
mod stores {
    use std::sync::Arc;

    use futures_util::{StreamExt, TryStreamExt};
    use object_store::path::Path;
    use object_store::{Error, GetOptions, GetRange, ObjectStore};

    use super::{Broken, Chunks, PullError, Range};
    use crate::pull::error::PullErrorKind;

    /// An object, and what its store calls this version of it.
    #[derive(Clone, Debug)]
    pub(crate) struct Object {
        pub store: Arc<dyn ObjectStore>,
        pub path: Path,
        pub tag: Option<String>,
    }

    impl Object {
        /// The bytes of a range, or all.
        pub async fn bytes(&self, range: Option<Range<u64>>) -> Result<Chunks, Broken> {
            let options = GetOptions {
                if_match: self.tag.clone(),
                range: range.map(GetRange::Bounded),
                ..GetOptions::default()
            };
            let path = self.path.clone();
            let broken = move |error: Error| match error {
                Error::Precondition { .. } | Error::NotFound { .. } => {
                    Broken::Changed("it was replaced or removed while it was fetched".into())
                }
                Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                    let message = format!("cannot fetch `{path}`\n  the store refuses it: {}", chain(&error));
                    Broken::Last(PullError::new(PullErrorKind::NoAccess, message))
                }
                error => Broken::Passing(chain(&error), None),
            };
            let answer = self.store.get_opts(&self.path, options).await.map_err(&broken)?;
            Ok(answer.into_stream().map_err(broken).boxed())
        }
    }

    /// An error and what led to it, on a line.
    pub(crate) fn chain(error: &Error) -> String {
        let mut out = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            let text = error.to_string();
            if !out.contains(&text) {
                out = format!("{out}: {text}");
            }
            source = error.source();
        }
        out.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(600).collect()
    }
}
