#pragma once

/// The one place that knows which Catch2 is installed: version 3 (split headers) or version 2 (one header).
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
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
