"""The local cloud: an emulator of AWS, a stand-in for Bedrock, and the app deployed to both."""
