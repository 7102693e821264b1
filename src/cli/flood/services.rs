//! Services of the nodes of a run, and the subscriptions of its members.
//!
//! Nodes belong to services in turn. The members of a service subscribe to the services that follow
//! it, so each service concerns the same number of others.

use super::args::ServiceArgs;
use super::frames::Watch;
use crate::cli::failure::Failure;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Services {
    /// Number of services.
    count: usize,
    /// Number of services that each member subscribes to. `None` if members receive everything.
    each: Option<usize>,
}

impl Services {
    /// Returns the services of a run with this many members, if it has services.
    pub(crate) fn new(
        args: &ServiceArgs,
        watch: Watch,
        members: usize,
    ) -> Result<Option<Services>, Failure> {
        let Some(count) = args.services else {
            return Ok(None);
        };
        let each = args.subscriptions;
        if count > members {
            return Err(Failure::usage(format!(
                "--services {count}: more than the {members} nodes; use at most one service for \
                 each node (--nodes)"
            )));
        }
        if let Some(each) = each
            && each > count
        {
            return Err(Failure::usage(format!(
                "--subscriptions {each}: more than the {count} services (--services)"
            )));
        }
        if each.is_some() && watch.session().is_none() {
            return Err(Failure::usage(
                "--subscriptions cannot be used with --watch plain: only sessions subscribe; use \
                 --watch delta or list",
            ));
        }
        Ok(Some(Services { count, each }))
    }

    /// Returns the settings for the report.
    pub(crate) fn settings(self) -> impl Iterator<Item = (&'static str, String)> {
        let each = self.each.map(|each| ("subscriptions of a node", each));
        let all = [("services", self.count)].into_iter().chain(each);
        all.map(|(name, count)| (name, count.to_string()))
    }

    pub(crate) fn are_subscribed_to(self) -> bool {
        self.each.is_some()
    }

    /// Returns the service of a node.
    pub(crate) fn of(self, node: usize) -> usize {
        node % self.count
    }

    /// Returns the number of different subscriptions. Member `i` has subscription
    /// `i % subscriptions`.
    pub(crate) fn subscriptions(self) -> usize {
        self.each.map_or(1, |_| self.count)
    }

    /// Returns the services of a subscription, or `None` if it is to everything.
    pub(crate) fn subscribed(self, subscription: usize) -> Option<impl Iterator<Item = usize>> {
        let each = self.each?;
        Some((1..=each).map(move |next| (subscription + next) % self.count))
    }

    /// Returns how many of these members, counted from the first, are in a service.
    fn members_of(self, service: usize, members: usize) -> usize {
        members / self.count + usize::from(service < members % self.count)
    }

    /// Returns how many of these members, counted from the first, match a subscription.
    pub(crate) fn matching(self, subscription: usize, members: usize) -> usize {
        self.subscribed(subscription).map_or(members, |services| {
            services
                .map(|service| self.members_of(service, members))
                .sum()
        })
    }

    /// Returns how many of these members, counted from the first, subscribe to a service.
    pub(crate) fn watching(self, service: usize, members: usize) -> usize {
        self.each.map_or(members, |each| {
            let before = (1..=each).map(|back| (service + self.count - back) % self.count);
            before.map(|other| self.members_of(other, members)).sum()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(count: usize, each: Option<usize>, members: usize) -> Result<Services, String> {
        let args = ServiceArgs {
            services: Some(count),
            subscriptions: each,
        };
        let services = Services::new(&args, Watch::Delta, members);
        let services = services.map_err(|failure| failure.message)?;
        Ok(services.unwrap())
    }

    #[test]
    fn counts_members_as_listing_them_does() {
        for (count, each, members) in [(4, 1, 4), (7, 3, 40), (5, 5, 23), (200, 3, 5000)] {
            let services = services(count, Some(each), members).unwrap();
            assert_eq!(services.subscriptions(), count);
            let is_watched = |member: usize, service: usize| {
                let subscription = member % services.subscriptions();
                services
                    .subscribed(subscription)
                    .unwrap()
                    .any(|one| one == service)
            };
            for service in 0..count.min(20) {
                let watching = (0..members).filter(|member| is_watched(*member, service));
                assert_eq!(services.watching(service, members), watching.count());
                let of_it = (0..members).filter(|member| is_watched(service, services.of(*member)));
                assert_eq!(services.matching(service, members), of_it.count());
            }
        }
        // A change concerns 50 of 5,000 sessions.
        let services = services(200, Some(2), 5000).unwrap();
        assert!((0..200).all(|service| services.watching(service, 5000) == 50));
    }

    #[test]
    fn all_watch_everything_without_subscriptions() {
        let services = services(3, None, 10).unwrap();
        assert_eq!(services.subscriptions(), 1);
        assert!(services.subscribed(0).is_none());
        assert_eq!(
            (services.matching(0, 10), services.watching(2, 10)),
            (10, 10)
        );
        assert_eq!(services.of(7), 1);
    }

    #[test]
    fn rejects_services_without_members() {
        assert!(services(5, None, 4).unwrap_err().contains("--services 5"));
        let error = services(5, Some(6), 9).unwrap_err();
        assert!(error.contains("--subscriptions 6"), "{error}");
    }
}
