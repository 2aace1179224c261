//! What every context's aggregate has in common, written once.
//!
//! A context states two pure functions: `decide(&self, command) -> Result<Event, Error>` and
//! `fold(&mut self, event)`. One command leaves exactly one event or is refused; so each accepted command has one
//! receipt. [`event_sourced!`] ties them to `cqrs_es` and lists the events; since the list is also the `match` that
//! names them, an event that is missing from the registry does not compile.

/// Implements `DomainEvent`, `Aggregate` and `EventSourced` from `decide` and `fold`.
///
/// `event_sourced!(State, "type", Command, Error, Event { Variant, Variant = SCHEMA, … })`: a variant whose schema
/// has had one version only needs no `SCHEMA`.
macro_rules! event_sourced {
    ($aggregate:ty, $type:literal, $command:ty, $error:ty, $event:ident { $($variant:ident $(= $schema:expr)?),+ $(,)? }) => {
        impl $event {
            /// The registry's entry of this event.
            #[must_use]
            pub const fn schema(&self) -> $crate::schema::EventSchema {
                match self {
                    $(Self::$variant { .. } => event_sourced!(@schema $variant $($schema)?),)+
                }
            }
        }

        impl cqrs_es::DomainEvent for $event {
            fn event_type(&self) -> String {
                self.schema().event_type.to_owned()
            }

            fn event_version(&self) -> String {
                self.schema().version.to_owned()
            }
        }

        impl cqrs_es::Aggregate for $aggregate {
            const TYPE: &'static str = $type;
            type Command = $command;
            type Event = $event;
            type Error = $error;
            type Services = ();

            async fn handle(
                &mut self,
                command: Self::Command,
                (): &Self::Services,
                sink: &cqrs_es::event_sink::EventSink<Self>,
            ) -> Result<(), Self::Error> {
                let event = self.decide(command)?;
                sink.write(event, self).await;
                Ok(())
            }

            fn apply(&mut self, event: Self::Event) {
                self.fold(event);
            }
        }

        impl $crate::schema::EventSourced for $aggregate {
            const EVENTS: &'static [$crate::schema::EventSchema] =
                &[$(event_sourced!(@schema $variant $($schema)?)),+];
        }
    };
    (@schema $variant:ident) => { $crate::schema::EventSchema::first(stringify!($variant)) };
    (@schema $variant:ident $schema:expr) => { $schema };
}

pub(crate) use event_sourced;
