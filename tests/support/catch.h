#pragma once

/// The one place that knows which Catch2 is installed: version 3 (split headers) or version 2 (one header).
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
namespace Catch {
using Detail::Approx;  // where version 3 has it
}
#endif
