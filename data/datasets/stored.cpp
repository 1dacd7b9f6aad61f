#include "core/error.h"
#include "data/datasets/formats.h"

namespace vitrine::data {
namespace {

class Stored final : public Dataset {
 public:
  explicit Stored(StoredImages images)
      : images_(std::move(images)),
        plane_(size_t(images_.preprocessing.height * images_.preprocessing.width)),
        planes_(images_.preprocessing.grey ? 1 : 3) {
    check<ValueError>(images_.bytes.size() == images_.classes.size() * planes_ * plane_,
                      "stored images: {} bytes for {} images of {} x {} x {}", images_.bytes.size(),
                      images_.classes.size(), planes_, images_.preprocessing.height, images_.preprocessing.width);
  }

  int64_t size() const override { return int64_t(images_.classes.size()); }
  const std::vector<std::string>& labels() const override { return images_.labels; }
  const Preprocessing& preprocessing() const override { return images_.preprocessing; }
  int64_t label(int64_t i) const override { return images_.classes[size_t(i)]; }
  Image image(int64_t i) const override {
    const Preprocessing& p = images_.preprocessing;
    Image out{p.height, p.width, int64_t(planes_), std::vector<uint8_t>(planes_ * plane_)};
    const uint8_t* from = images_.bytes.data() + size_t(i) * planes_ * plane_;
    for (size_t c = 0; c < planes_; ++c)
      for (size_t k = 0; k < plane_; ++k) out.pixels[k * planes_ + c] = from[c * plane_ + k];
    return out;
  }
  std::string description() const override { return images_.description; }

 private:
  StoredImages images_;
  size_t plane_, planes_;
};

}  // namespace

std::unique_ptr<Dataset> store(StoredImages images) { return std::make_unique<Stored>(std::move(images)); }

}  // namespace vitrine::data
