"""An application that cannot be imported."""

from fairlane import Fairlane

wrong = 1 // 0

app = Fairlane()
