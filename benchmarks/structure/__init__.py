"""Human translations of several lines, planted structural defects, and engines that break lines."""
