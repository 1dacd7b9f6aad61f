#pragma once
#include <string>

/// The one place that knows which Catch2 is installed: version 3 (a library with split headers) or version 2 (one
/// header).
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;  // as in version 2
#else
#include <catch2/catch.hpp>
// Names of version 3 that version 2 has elsewhere.
namespace Catch {
using Detail::Approx;
namespace Matchers {
inline auto ContainsSubstring(const std::string& s) { return Contains(s); }
}  // namespace Matchers
}  // namespace Catch
#endif

namespace vitrine::testing {
/// Matches texts with `part` in them. Not Catch's name: Contains is this in version 2, but looks for an element in 3.
inline auto Contains(const std::string& part) { return Catch::Matchers::ContainsSubstring(part); }
}  // namespace vitrine::testing
