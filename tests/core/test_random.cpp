#include <cmath>

#include "core/random.h"
#include "tests/support/catch.h"

using namespace vitrine;

// Known answers of Random123's kat_vectors for philox4x32-10.
TEST_CASE("Philox4x32-10 gives the published answers", "[unit]") {
  const Philox zero(0, 0, 0);
  CHECK(zero.word[0] == 0x6627e8d5);
  CHECK(zero.word[1] == 0xe169c58d);
  CHECK(zero.word[2] == 0xbc57ac4c);
  CHECK(zero.word[3] == 0x9b00dbd8);
  const Philox ones(~uint64_t(0), ~uint64_t(0), ~uint64_t(0));
  CHECK(ones.word[0] == 0x408f276d);
  CHECK(ones.word[1] == 0x41c83b0e);
  CHECK(ones.word[2] == 0xa20bc7c6);
  CHECK(ones.word[3] == 0x6d5451fd);
  const Philox pi(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88);
  CHECK(pi.word[0] == 0xd16cfe09);
  CHECK(pi.word[1] == 0x94fdcceb);
  CHECK(pi.word[2] == 0x5001e420);
  CHECK(pi.word[3] == 0x24126ea1);
}

TEST_CASE("a draw is a function of seed, offset and element", "[unit]") {
  Generator a{7, 0}, b{7, 0};
  const Tensor x = random_normal({1000}, a), y = random_normal({1000}, b);
  CHECK(x.to_vector() == y.to_vector());
  CHECK(random_normal({1000}, a).to_vector() != x.to_vector());
  CHECK(a.offset == 2);
  const RandomDraw draw{3, 5};
  CHECK(draw.bits(6) == Philox(3, 5, 1).word[2]);
  CHECK(RandomDraw::uniform(0xFFFFFFFF) < 1.0f);
}

TEST_CASE("normals and uniforms have their moments", "[unit]") {
  Generator g{1, 0};
  const auto moments = [](const Tensor& t) {
    double mean = 0, square = 0;
    const auto v = t.to_vector();
    for (double x : v) mean += x / double(v.size());
    for (double x : v) square += (x - mean) * (x - mean) / double(v.size());
    return std::pair(mean, square);
  };
  const auto [mean, variance] = moments(random_normal({200000}, g, 2, 3, {.dtype = Dtype::f64}));
  CHECK(std::abs(mean - 2) < 0.03);  // 4.5 standard errors
  CHECK(std::abs(variance - 9) < 0.13);
  const auto [middle, spread] = moments(random_uniform({200000}, g, -1, 1, {.dtype = Dtype::f64}));
  CHECK(std::abs(middle) < 0.006);
  CHECK(std::abs(spread - 1. / 3) < 0.004);
  const auto ids = random_integers({10000}, g, -2, 3).to_vector();
  CHECK(*std::min_element(ids.begin(), ids.end()) == -2);
  CHECK(*std::max_element(ids.begin(), ids.end()) == 2);
  CHECK_THROWS_AS(random_integers({1}, g, 3, 3), ValueError);
}
