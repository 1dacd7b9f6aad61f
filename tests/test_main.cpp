#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

/// Catch2's own command line: `vitrine_tests "[sweep]" -c softmax` runs one op of the sweep.
int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
