#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <numeric>
#include <set>
#include <thread>
#include <tuple>

#include "core/allocator.h"
#include "core/error.h"
#include "data/datasets/formats.h"
#include "data/loader.h"
#include "tests/support/catch.h"

using namespace vitrine;
using namespace vitrine::data;

namespace {

/// Image i has label i % 7; its pixels say i, the channel and the place. Optionally fails, or takes its time.
class Fake final : public Dataset {
 public:
  explicit Fake(int64_t size, int64_t height = 5, int64_t width = 4) : size_(size) {
    preprocessing_ = {.height = height, .width = width, .mean = {0, 0.5, 0}, .std = {1, 0.5, 2}};
  }
  int64_t size() const override { return size_; }
  const std::vector<std::string>& labels() const override { return labels_; }
  const Preprocessing& preprocessing() const override { return preprocessing_; }
  int64_t label(int64_t i) const override { return i % 7; }
  static uint8_t pixel(int64_t i, int64_t at) { return uint8_t(i * 31 + at * 7 + 1); }
  Image image(int64_t i) const override {
    ++calls;
    if (slow) std::this_thread::sleep_for(std::chrono::microseconds((i * 7919) % 300));
    check<IoError>(i != broken, "image {} is broken", i);
    const int64_t plane = preprocessing_.height * preprocessing_.width;
    Image out{preprocessing_.height, preprocessing_.width, 3, {}};
    for (int64_t k = 0; k < 3 * plane; ++k) out.pixels.push_back(pixel(i, k % 3 * plane + k / 3));
    return out;
  }
  std::string description() const override { return "fake"; }

  int64_t broken = -1;
  bool slow = false;
  mutable std::atomic<int64_t> calls{0};

 private:
  int64_t size_;
  std::vector<std::string> labels_ = std::vector<std::string>(7, "x");
  Preprocessing preprocessing_;
};

std::vector<Batch> all_batches(Epoch epoch) {
  std::vector<Batch> out;
  while (auto batch = epoch.next()) out.push_back(std::move(*batch));
  CHECK_FALSE(epoch.next().has_value());
  return out;
}

bool equal(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.raw_data(), b.raw_data(), size_t(a.numel() * size_of(a.dtype()))) == 0;
}

bool equal(const std::vector<Batch>& a, const std::vector<Batch>& b, size_t skip = 0) {
  if (a.size() != b.size() + skip) return false;
  for (size_t i = 0; i < b.size(); ++i)
    if (!equal(a[i + skip].images, b[i].images) || !equal(a[i + skip].targets, b[i].targets)) return false;
  return true;
}

LoaderOptions training(int workers) {
  return {.batch_size = 8, .shuffle = true, .seed = 3, .workers = workers, .augment = {.flip = true, .pad_crop = 2}};
}

}  // namespace

TEST_CASE("without options a loader gives the images in order, converted", "[unit]") {
  const Fake data(7);
  const Loader loader(data, {.batch_size = 3});
  REQUIRE(loader.batches() == 3);
  const auto batches = all_batches(loader.epoch(0));
  REQUIRE(batches.size() == 3);
  CHECK(batches[0].images.shape() == Shape{3, 3, 5, 4});
  CHECK(batches[2].images.shape() == Shape{1, 3, 5, 4});
  CHECK(batches[2].targets.shape() == Shape{1});
  CHECK(batches[0].images.dtype() == Dtype::f32);
  for (int64_t i = 0; i < 7; ++i) {
    const Batch& batch = batches[size_t(i / 3)];
    CHECK(batch.targets.data<int64_t>()[i % 3] == i % 7);
    const float* x = batch.images.data<float>() + (i % 3) * 60;
    for (int64_t k = 0; k < 60; ++k) {
      const double v = Fake::pixel(i, k) / 255.0, mean = k / 20 == 1 ? 0.5 : 0,
                   std = k / 20 == 1   ? 0.5
                         : k / 20 == 2 ? 2
                                       : 1;
      CHECK(x[k] == float((v - mean) / std));
    }
  }
}

TEST_CASE("drop_last leaves out the batch that is not full", "[unit]") {
  const Fake seven(7), six(6), none(0);
  CHECK(Loader(seven, {.batch_size = 3, .drop_last = true}).batches() == 2);
  CHECK(all_batches(Loader(seven, {.batch_size = 3, .drop_last = true}).epoch(0)).size() == 2);
  CHECK(Loader(six, {.batch_size = 3, .drop_last = true}).batches() == 2);
  CHECK(Loader(six, {.batch_size = 3}).batches() == 2);
  CHECK(Loader(none, {.batch_size = 3}).batches() == 0);
  CHECK(all_batches(Loader(none, {.batch_size = 3, .shuffle = true, .workers = 2}).epoch(0)).empty());
}

TEST_CASE("batches depend on seed and epoch alone, not on the workers", "[unit][threads]") {
  Fake data(77);
  const auto expected = all_batches(Loader(data, training(0)).epoch(5));
  CHECK(expected.size() == 10);
  data.slow = true;  // workers overtake each other
  for (const int workers : {1, 2, 3, 7})
    for (const int64_t prefetch : {1, 2, 20}) {
      LoaderOptions options = training(workers);
      options.prefetch = prefetch;
      INFO("workers " << workers << " prefetch " << prefetch);
      CHECK(equal(expected, all_batches(Loader(data, options).epoch(5))));
    }
  CHECK_FALSE(equal(expected, all_batches(Loader(data, training(2)).epoch(6))));
  LoaderOptions other = training(2);
  other.seed = 4;
  CHECK_FALSE(equal(expected, all_batches(Loader(data, other).epoch(5))));
}

TEST_CASE("an epoch that starts in its middle gives the same tail", "[unit][threads]") {
  const Fake data(77);
  for (const int workers : {0, 1, 3}) {
    const Loader loader(data, training(workers));
    const auto whole = all_batches(loader.epoch(2));
    for (const int64_t first : {1, 4, 9, 10}) {
      data.calls = 0;
      Epoch epoch = loader.epoch(2, first);
      CHECK(epoch.position() == first);
      CHECK(equal(whole, all_batches(std::move(epoch)), size_t(first)));
      CHECK(data.calls == std::max<int64_t>(0, 77 - first * 8));  // nothing before `first` was prepared
    }
  }
}

TEST_CASE("a shuffle is a permutation of its own for every seed and epoch", "[unit]") {
  std::set<std::vector<int64_t>> orders;
  for (const uint64_t seed : {0u, 1u})
    for (const int64_t epoch : {0, 1, 2}) {
      std::vector<int64_t> order = shuffled(1000, seed, epoch);
      CHECK(order == shuffled(1000, seed, epoch));
      orders.insert(order);
      std::sort(order.begin(), order.end());
      std::vector<int64_t> expected(1000);
      std::iota(expected.begin(), expected.end(), 0);
      CHECK(order == expected);
    }
  CHECK(orders.size() == 6);
  CHECK(shuffled(0, 0, 0).empty());
  CHECK(shuffled(1, 0, 0) == std::vector<int64_t>{0});
}

TEST_CASE("every order of four is equally likely", "[unit]") {
  std::map<std::vector<int64_t>, int> count;
  constexpr int kDraws = 24000;
  for (int epoch = 0; epoch < kDraws; ++epoch) ++count[shuffled(4, 9, epoch)];
  REQUIRE(count.size() == 24);
  double chi2 = 0;
  for (const auto& [order, n] : count) chi2 += (n - kDraws / 24.0) * (n - kDraws / 24.0) / (kDraws / 24.0);
  CHECK(chi2 < 49.7);  // 23 degrees of freedom: exceeded once in 1000 seeds; the seed is fixed
}

/// How image i was moved, given what became of it: flip, dy, dx. Fails unless exactly one move explains it.
std::tuple<bool, int64_t, int64_t> move_of(const Fake& data, int64_t i, const float* x, int64_t pad) {
  const PixelTable table(data.preprocessing());
  const int64_t height = data.preprocessing().height, width = data.preprocessing().width, plane = height * width;
  std::vector<std::tuple<bool, int64_t, int64_t>> found;
  for (const bool flip : {false, true})
    for (int64_t dy = -pad; dy <= pad; ++dy)
      for (int64_t dx = -pad; dx <= pad; ++dx) {
        bool same = true;
        for (int64_t k = 0; k < 3 * plane && same; ++k) {
          const int64_t c = k / plane, y = k / width % height + dy;
          const int64_t column = k % width, from = (flip ? width - 1 - column : column) + dx;
          const bool inside = y >= 0 && y < height && from >= 0 && from < width;
          same = x[k] == table.channel(c)[inside ? Fake::pixel(i, c * plane + y * width + from) : 0];
        }
        if (same) found.emplace_back(flip, dy, dx);
      }
  REQUIRE(found.size() == 1);
  return found[0];
}

TEST_CASE("augmentation: every place and both directions, black outside, the same move in all channels", "[unit]") {
  const Fake data(64);
  const Loader loader(data, {.batch_size = 64, .seed = 11, .augment = {.flip = true, .pad_crop = 2}});
  constexpr int kEpochs = 16;  // 1024 images
  std::map<std::tuple<bool, int64_t, int64_t>, int> seen, of_image_0;
  for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    const Tensor images = loader.epoch(epoch).next()->images;
    for (int64_t i = 0; i < 64; ++i) {
      const auto move = move_of(data, i, images.data<float>() + i * 60, 2);
      ++seen[move];
      if (i == 0) ++of_image_0[move];
    }
  }
  CHECK(seen.size() == 50);  // of 2 * 5 * 5; 20 draws each on average
  CHECK(of_image_0.size() > 8);
  int flips = 0;
  for (const auto& [move, n] : seen) {
    CHECK(n < 50);
    flips += std::get<0>(move) ? n : 0;
  }
  CHECK(std::abs(flips - 512) < 60);  // 3.8 standard deviations; the seed is fixed
}

TEST_CASE("a frame wider than the image leaves it black at times, and reads nothing else", "[unit]") {
  const Fake data(16, 2, 2);
  const float black = PixelTable(data.preprocessing()).channel(0)[0];
  const auto batch = Loader(data, {.batch_size = 16, .augment = {.pad_crop = 9}}).epoch(0).next();
  int empty_images = 0;
  for (int64_t i = 0; i < 16; ++i)
    empty_images += std::all_of(batch->images.data<float>() + i * 12, batch->images.data<float>() + i * 12 + 4,
                                [&](float v) { return v == black; });
  CHECK(empty_images > 8);
}

TEST_CASE("mixing takes the finished inputs, normalised and erased", "[unit]") {
  const Fake data(8, 12, 12);
  LoaderOptions options{.batch_size = 8, .shuffle = true, .drop_last = true, .seed = 5};
  options.augment.erasing = {.probability = 1, .mode = Erasing::Mode::pixel};
  const Batch plain = all_batches(Loader(data, options).epoch(0))[0];
  options.mixing = {.mixup = 1, .group = 4, .classes = 7};
  const Batch mixed = all_batches(Loader(data, options).epoch(0))[0];
  const std::vector<double> x = plain.images.to_vector(), y = mixed.images.to_vector(),
                            t = mixed.soft_targets.to_vector();
  const std::vector<double> labels = plain.targets.to_vector();
  constexpr size_t kInput = 3 * 12 * 12;
  std::set<double> drawn;
  for (size_t i = 0; i < 8; ++i) {
    const size_t j = i / 4 * 4 + 3 - i % 4;
    if (labels[i] == labels[j]) continue;  // then the target does not tell l
    const double l = t[7 * i + size_t(labels[i])];
    drawn.insert(l);
    for (size_t k = 0; k < kInput; ++k)
      REQUIRE(y[i * kInput + k] == Catch::Approx(l * x[i * kInput + k] + (1 - l) * x[j * kInput + k]).margin(1e-5));
  }
  CHECK(drawn.size() == 2);  // one for each group
}

TEST_CASE("what a worker throws reaches the caller when its batch is due", "[unit][threads]") {
  Fake data(40);
  data.broken = 18;
  for (const int workers : {0, 1, 3}) {
    Epoch epoch = Loader(data, {.batch_size = 4, .workers = workers}).epoch(0);
    for (int64_t b = 0; b < 4; ++b) CHECK(epoch.next().has_value());
    CHECK_THROWS_WITH(epoch.next(), "image 18 is broken");
    CHECK_THROWS_AS(epoch.next(), IoError);
    CHECK(epoch.position() == 4);
  }
}

TEST_CASE("a loader makes its batches in the memory it is given, and says when one is ready", "[unit][threads]") {
  const Fake data(12);
  const auto memory = std::make_shared<MemoryPool>(Device::cpu(), allocator(Device::cpu()));
  for (const int workers : {0, 2}) {
    const Loader loader(data, {.batch_size = 4, .workers = workers, .memory = memory});
    Epoch epoch = loader.epoch(0);
    for (int64_t b = 0; b < loader.batches(); ++b) {
      while (workers && !epoch.ready()) std::this_thread::yield();
      CHECK(epoch.ready() == (workers > 0));
      const auto batch = epoch.next();
      CHECK(batch->images.storage()->pool() == memory.get());
      CHECK(batch->targets.storage()->pool() == memory.get());
    }
    CHECK(!epoch.ready());
    Epoch other = loader.epoch(1);
    CHECK(!other.ready(4));  // of 3
    if (workers == 0) continue;
    while (!other.ready(2)) std::this_thread::yield();
    CHECK(!other.ready(3));  // two are made ahead
  }
}

TEST_CASE("an epoch can be left at any point, moved, and outlive its loader", "[unit][threads]") {
  Fake data(400);
  data.slow = true;
  for (int taken = 0; taken < 6; ++taken) {
    Epoch epoch = Loader(data, {.batch_size = 4, .workers = 3}).epoch(0);
    for (int i = 0; i < taken; ++i) CHECK(epoch.next().has_value());
    Epoch moved = std::move(epoch);
    if (taken % 2) CHECK(moved.next()->targets.data<int64_t>()[0] == taken * 4 % 7);
    moved = Loader(data, {.batch_size = 4, .workers = 1}).epoch(1);
    CHECK(moved.position() == 0);
  }
}

TEST_CASE("workers stay within their distance of the caller", "[unit][threads]") {
  const Fake data(400);
  Epoch epoch = Loader(data, {.batch_size = 4, .workers = 2, .prefetch = 3}).epoch(0);
  epoch.next();
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  CHECK(data.calls <= 4 * (1 + 3));
}

TEST_CASE("batches that make a step together are a batch as large, in pieces", "[unit]") {
  const Fake data(600);
  for (const int64_t repeats : {1, 3}) {
    LoaderOptions options{.batch_size = 48,
                          .shuffle = true,
                          .drop_last = true,
                          .seed = 5,
                          .augment = {.flip = true, .pad_crop = 2},
                          .mixing = {.mixup = 0.8, .cutmix = 1, .group = 4, .classes = 7},
                          .repeats = repeats};
    const std::vector<Batch> large = all_batches(Loader(data, options).epoch(1));
    options.batch_size = 16, options.accumulate = 3;
    const Loader loader(data, options);
    const std::vector<Batch> pieces = all_batches(loader.epoch(1));
    REQUIRE(large.size() > 4);
    REQUIRE(pieces.size() == 3 * large.size());  // nothing of a step that is not whole
    CHECK(loader.batches() == int64_t(pieces.size()));
    for (size_t i = 0; i < pieces.size(); ++i) {
      const auto piece = [&](const Tensor& t) { return t.narrow(0, int64_t(i % 3) * 16, 16).contiguous(); };
      CHECK(equal(piece(large[i / 3].images), pieces[i].images));
      CHECK(equal(piece(large[i / 3].targets), pieces[i].targets));
      CHECK(equal(piece(large[i / 3].soft_targets), pieces[i].soft_targets));
    }
  }
}

TEST_CASE("images of several classes: every class counts, and mixes with those of the partner", "[unit]") {
  /// Image i has the classes whose bits i % 8 has.
  class Several final : public Dataset {
   public:
    explicit Several(int64_t size) : base_(size) {}
    int64_t size() const override { return base_.size(); }
    const std::vector<std::string>& labels() const override { return labels_; }
    const Preprocessing& preprocessing() const override { return base_.preprocessing(); }
    int64_t label(int64_t) const override { return 0; }
    bool multi_label() const override { return true; }
    std::vector<int64_t> classes(int64_t i) const override {
      std::vector<int64_t> list;
      for (int64_t c = 0; c < 3; ++c)
        if (i >> c & 1) list.push_back(c);
      return list;
    }
    Image image(int64_t i) const override {
      if (i == broken) throw BadImage("broken");
      return base_.image(i);
    }
    std::string description() const override { return "several"; }
    int64_t broken = -1;

   private:
    Fake base_;
    std::vector<std::string> labels_ = {"a", "b", "c"};
  };
  Several data(8);
  data.broken = 1;
  const Batch plain = *Loader(data, {.batch_size = 8}).epoch(0).next();
  CHECK(plain.soft_targets.shape() == Shape{7, 3});
  CHECK(plain.soft_targets.to_vector() ==
        std::vector<double>{0, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 1, 1, 1, 1, 1});
  data.broken = -1;
  const LoaderOptions options{.batch_size = 8, .drop_last = true, .mixing = {.mixup = 1, .group = 8, .classes = 4}};
  const Batch mixed = *Loader(data, options).epoch(0).next();
  REQUIRE(mixed.soft_targets.shape() == Shape{8, 4});
  const std::vector<double> y = mixed.soft_targets.to_vector();
  const double l = y[4 * 7];  // image 7 has class a, image 0 does not
  CHECK((l > 0 && l < 1));
  for (int64_t i = 0; i < 8; ++i)
    for (int64_t c = 0; c < 4; ++c) {
      const double own = c < 3 && (i >> c & 1), other = c < 3 && ((7 - i) >> c & 1);
      CHECK(y[size_t(i * 4 + c)] == Catch::Approx(l * own + (1 - l) * other).margin(1e-6));
    }
}

TEST_CASE("binary targets: every share counts in full, then smoothing", "[unit]") {
  std::vector<float> y = {0.25, 0, 0.75, 1e-6f, 0, 0};
  binary_targets(y.data(), 2, 3, 0);
  CHECK(y == std::vector<float>{1, 0, 1, 1, 0, 0});
  binary_targets(y.data(), 2, 3, 0.3);
  const std::vector<double> expected = {0.8, 0.1, 0.8, 0.8, 0.1, 0.1};
  for (size_t i = 0; i < 6; ++i) CHECK(double(y[i]) == Catch::Approx(expected[i]));

  // Of a loader: one class each, or those of a pair that is mixed.
  const Fake data(8);
  LoaderOptions options{.batch_size = 4, .drop_last = true, .binary_smoothing = 0.14};
  const Batch plain = *Loader(data, options).epoch(0).next();
  REQUIRE(plain.soft_targets.shape() == Shape{4, 7});
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t c = 0; c < 7; ++c)
      CHECK(plain.soft_targets.to_vector()[size_t(i * 7 + c)] == Catch::Approx(i == c ? 0.88 : 0.02));
  options.binary_smoothing = 0;
  options.mixing = {.mixup = 0.5, .group = 4, .classes = 9};
  const Batch mixed = *Loader(data, options).epoch(0).next();
  REQUIRE(mixed.soft_targets.shape() == Shape{4, 9});
  for (int64_t i = 0; i < 4; ++i)
    for (int64_t c = 0; c < 9; ++c)
      CHECK(mixed.soft_targets.to_vector()[size_t(i * 9 + c)] == double(c == i || c == 3 - i));
  options.mixing.label_smoothing = 0.1;
  CHECK_THROWS_WITH(Loader(data, options), "loader: binary_smoothing must be 0 to 1, and the only smoothing");
}

TEST_CASE("loader options and epochs out of range", "[unit]") {
  const Fake data(10);
  CHECK_THROWS_WITH(Loader(data, {.accumulate = 0}), "loader: accumulate is 0; it must be 1 to 1048576");
  CHECK_THROWS_WITH(Loader(data, {.accumulate = 2}), "loader: accumulate above 1 needs full batches");
  CHECK_THROWS_WITH(Loader(data, {.batch_size = 0}), "loader: batch_size is 0; it must be 1 to 16777216");
  CHECK_THROWS_WITH(Loader(data, {.workers = -1}), "loader: workers is -1; it must be 0 to 256");
  CHECK_THROWS_WITH(Loader(data, {.prefetch = 0}), "loader: prefetch is 0; it must be 1 to 1024");
  CHECK_THROWS_WITH(Loader(data, {.augment = {.pad_crop = -1}}), "augmentation: pad_crop is -1; it must be 0 to 4096");
  const Loader loader(data, {.batch_size = 4});
  CHECK_THROWS_WITH(loader.epoch(-1), "loader: there is no epoch -1");
  CHECK_THROWS_WITH(loader.epoch(0, 4), "loader: an epoch of 3 batches cannot start at batch 4");
  CHECK_THROWS_AS(loader.epoch(0, -1), ValueError);
}
