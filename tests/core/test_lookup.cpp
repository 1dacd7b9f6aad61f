#include <vector>

#include "core/lookup.h"
#include "tests/support/catch.h"

using namespace vitrine;

TEST_CASE("add_lookup for tables of any size and rows of any length", "[unit]") {
  const auto check = []<class T>(T) {
    for (int64_t size : {1, 15, 16, 17, 32, 33, 50, 63, 64, 65, 130}) {
      std::vector<T> table(static_cast<size_t>(size));
      for (size_t t = 0; t < table.size(); ++t) table[t] = T(3 * t + 1);
      for (int64_t n : {0, 1, 15, 16, 17, 40})
        for (int64_t lead : {0, 1, 2, 15, 16}) {
          std::vector<int32_t> ids;
          for (int64_t j = 0; j < n; ++j) ids.push_back(int32_t((7 * j + size - 1) % size));
          const int32_t lead_id = int32_t(size / 2);
          std::vector<T> y(size_t(lead + n + 16), T(5)), expected = y;
          for (int64_t j = 0; j < lead + n; ++j)
            expected[size_t(j)] += table[size_t(j < lead ? lead_id : ids[size_t(j - lead)])];
          add_lookup(table.data(), size, lead, lead_id, ids.data(), n, y.data());
          INFO("size " << size << ", length " << n << " behind " << lead);
          CHECK(y == expected);
        }
    }
  };
  check(float());
  check(double());
}

TEST_CASE("lanes are kept by the bits of a mask", "[unit]") {
  const auto check = []<class T>(T) {
    constexpr int lanes = simd::kLanes<T>;
    simd::Vec<T> v;
    for (int i = 0; i < lanes; ++i) v[i] = T(i + 1);
    for (uint32_t mask = 0; mask < 1u << lanes; mask += lanes < 16 ? 1 : 97) {
      const auto kept = simd::keep<T>(v, simd::lanes_of<T>(mask));
      for (int i = 0; i < lanes; ++i) REQUIRE(kept[i] == (mask >> i & 1 ? T(i + 1) : T(0)));
    }
  };
  check(float());
  check(double());
}

TEST_CASE("lanes are chosen by their numbers, none by a negative one", "[unit]") {
  constexpr int lanes = simd::kLanes<float>;
  simd::Vec<float> v;
  for (int i = 0; i < lanes; ++i) v[i] = float(i + 1);
  for (int turn = 0; turn <= lanes; ++turn) {
    simd::Vec<int32_t> from;
    for (int i = 0; i < lanes; ++i) from[i] = (5 * i + 3 * turn) % (lanes + 1) - 1;
    const auto chosen = simd::choose(v, from);
    for (int i = 0; i < lanes; ++i) REQUIRE(chosen[i] == float(from[i] + 1));
  }
}
