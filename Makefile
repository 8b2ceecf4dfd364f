.PHONY: setup
setup:
	@deploy/setup/setup.sh
